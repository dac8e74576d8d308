"""What `train.py` does around the method: jobs read flags, call the library.

`claiming` gives a run its directory, `devices` its replicas, `fitting` trains
with all that a run shows, saves and resumes from, `watching` measures in
between, and `stopping` says how it ended. `follow` measures a run of another
process.
"""
