"""The gateway: what others send over HTTP, as events on the source topics.

It reads nothing and keeps nothing: a request is answered once Kafka has what was in it. `tracking.py` has Segment's tracking
API, pure, and `tracking_web.py` its paths; `webhooks_web.py` has those of vendors, whose mappings are in `streams/vendors`.
`intake.py` writes to Kafka, `serving.py` listens, with bounds on whoever comes, `process.py` puts them together. Nothing here
decides what an event means. Read `tracking.py` first.
"""
