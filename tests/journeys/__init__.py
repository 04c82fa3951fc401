"""Journeys through datapkg as people take them: the main job, and the behaviours that Quilt 2's own tests hold.

`test_001_…` to `test_102_…` carry the numbers of those behaviours. Where datapkg decides otherwise
(docs/from-quilt.md), the test says what datapkg does. Left out, each with the reason:

- 32–37 (checks), 44, 48 (editing a package), 49, 50 (filter, asa), 54, 55 (images, torch),
  79 but for the page itself (previews), 95 (accounts beyond tokens): they come with later features.
- 76, 94, 102 (payments, comments, telemetry): not wanted. 82: a team has a registry of its own (41, 57).
- 78: it is 58. 80, 81: how a registry keeps its rows, which nobody sees; that objects travel once is 69.
"""
