"""The version of rnnflow: its one home.

Packaging reads it from here, and not the other way round: an environment's package metadata says what was installed,
while a run in a clone of its own works with the code of that clone. As a file among the deps of stage `export` it is
code like any other to DVC, so that a new version exports again and trains nothing.
"""

VERSION = "0.1.0"
