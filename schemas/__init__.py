"""Everything that crosses a process boundary, and the names of the topics it crosses by.

Read `events.py` first: what comes in. Then `transitions.py`: what comes out. `topics.py` names every topic once and says
which partition a contact's records go to. The wire formats are frozen msgspec Structs; `jsonschema.py` makes the JSON
Schemas in `schemas/json/` from them, `asyncapi.py` the AsyncAPI document beside those; a test keeps both fresh.

This package imports nothing of ours and does no I/O.
"""
