"""Files of objects without a copy of their bytes: clones, and links to the files of the store.

A clone (reflink) shares blocks of the disk until one of the two is written, so it is an ordinary file of the user. A
hard or symbolic link is the store's own file, which is read-only. It is made only if this process could not write the
file: root can write every file, and would change the store.
"""

from __future__ import annotations

import errno
import fcntl
import os

from datapkg.errors import InvalidInput, Refused
from datapkg.format.checkout import LINKS
from datapkg.objects.folders import OpenFolder
from datapkg.objects.pack_file import PackLocation

_FICLONE = 0x40049409  # of linux/fs.h; see ioctl_ficlone(2)
# File systems and kernels say in different ways that they do not clone.
_NO_CLONE = frozenset(
    {errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.ETXTBSY}
)
_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EACCES, errno.EOPNOTSUPP})


def check_link(link: str) -> None:
    """Raise `InvalidInput` for a kind of link that does not exist."""
    if link not in LINKS:
        raise InvalidInput(f"there is no kind of link {link!r}; there are {', '.join(LINKS)}")


def link_object(place: PackLocation, folder: OpenFolder, name: str, link: str) -> bool:
    """Make a file of an object in one of these ways; return False if its bytes have to be copied.

    An object in a pack, where small ones are, is always copied. Raise `Refused` if the file system cannot do what was
    asked for, or a link could be written through.
    """
    if place.pack is not None or link == "copy":
        return False
    if link in ("auto", "reflink"):
        return _clone(place, folder, name, is_needed=link == "reflink")
    if os.access(place.path, os.W_OK):
        reason = "this user, like root, may write read-only files, and would change the store through a link"
        raise _refused(link, folder, reason)
    try:
        if link == "hardlink":
            os.link(place.path, name, dst_dir_fd=folder.descriptor, follow_symlinks=False)
        else:
            os.symlink(place.path, name, dir_fd=folder.descriptor)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        raise _refused(link, folder, str(error.strerror)) from error
    return True


def _clone(place: PackLocation, folder: OpenFolder, name: str, *, is_needed: bool) -> bool:
    with open(place.path, "rb") as source, folder.new_file(name) as file:
        try:
            fcntl.ioctl(file.fileno(), _FICLONE, source.fileno())
            return True
        except OSError as error:
            if error.errno not in _NO_CLONE:
                raise
            folder.remove_file(name)
            if is_needed:
                raise _refused("reflink", folder, str(error.strerror)) from error
            return False


def _refused(link: str, folder: OpenFolder, reason: str) -> Refused:
    line = f"no {link} can be made in {folder.path.parent}: {reason}; nothing was exported"
    return Refused(line, hint="datapkg export --link auto USER/NAME DEST")
