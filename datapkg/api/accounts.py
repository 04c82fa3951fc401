"""Accounts: log in to a registry with a token, log out, show the logged-in user."""

from __future__ import annotations

from datapkg.errors import NotLoggedIn
from datapkg.home import Home
from datapkg.remote.credentials import check_token


def login(home: Home, token: str, registry: str | None = None) -> dict[str, str]:
    """Store a token for a registry after the registry has accepted it; return the registry's URL and the user.

    The first registry becomes the default. Raise `NotLoggedIn` if the registry rejects the token.
    """
    client = home.client(registry, token=check_token(token))
    user = client.me().user
    if user is None:
        raise NotLoggedIn(f"{client.url} does not know this token", hint="ask its administrator for a new one")
    home.credentials.keep(client.url, check_token(token), user)
    if not home.settings.get("registry").value:
        home.settings.set("registry", client.url)
    return {"registry": client.url, "user": user}


def logout(home: Home, registry: str | None = None) -> dict[str, str | bool]:
    """Delete the stored token of a registry."""
    url = home.registry_url(registry)
    return {"registry": url, "was_logged_in": home.credentials.forget(url)}


def whoami(home: Home, registry: str | None = None) -> dict[str, str | None]:
    """Return the user that the token for a registry belongs to; raise `NotLoggedIn` if there is none."""
    client = home.client(registry)
    user = client.me().user
    if user is None:
        credential = home.credential(client.url)
        raise NotLoggedIn(f"you are not logged in to {client.url} ({credential.note})", hint=credential.hint)
    return {"registry": client.url, "user": user}
