"""End-to-end journeys of users through datapkg: the main job, and the behaviours that Quilt 2's own tests cover.

`test_001_…` to `test_102_…` carry the numbers of those behaviours. Where datapkg deliberately differs
(docs/from-quilt.md), the test asserts what datapkg does. Left out, each with the reason:

- 32–37 (checks), 44, 48 (editing a package), 49, 50 (filter, asa), 54, 55 (images, torch),
  79 but for the page itself (previews), 95 (accounts beyond tokens): they belong to later features.
- 76, 94, 102 (payments, comments, telemetry): not wanted. 82: a team runs its own registry (41, 57).
- 78: the same as 58. 80, 81: internal database rows of the registry; 69 covers that objects are sent once.
"""
