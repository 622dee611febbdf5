"""The shell around the core: everything that knows Kafka, Faust, clocks, files or people.

It reads, calls one pure function, writes; what a segment, a rule or a sequence means is decided in `segments/` and `actions/`.

The worker, in the order of an event's way: `app.py` (the Faust app), `transport.py` and `recovery.py` (what of Faust is
replaced), `worker.py` (what this process owns and does), `inbox.py` (the merge of the sources), `partition.py` (the turn),
`contacts.py` (states in memory), `poison.py` (what is left out), `checkpoint.py` (one transaction), `takeover.py` (from one
owner to the next), `log.py` (the seam to Kafka, with `kafka_log.py` behind it). Read `worker.py` first. Around it:
`settings.py`, `security.py` (how every client gets in), `topics.py` and `surroundings.py` (what must be there),
`definitions.py`, and the command line in `cli/`. Beside the worker: `dispatcher.py`, `projector.py` and `api.py` are the
other processes.
"""
