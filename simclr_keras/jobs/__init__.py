"""What `train.py` does around the method: jobs read flags, call the library.

`claiming` gives a run its directory, `devices` its replicas and `starting` the
weights of another one; `fitting` trains with all that a run shows, saves and
resumes from, `watching` measures in between, and `stopping` says how it ended.
`finetuning` trains with labels, `distilling` a student from a teacher; `follow`
measures a run of another process, and `sweeping` looks for a learning rate.
"""
