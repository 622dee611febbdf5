"""The vendors there are. A new one is a module with `VENDOR` (or `vendor(connection)`), and its name here."""

import importlib
from typing import Final

from streams.vendors.connection import Connection
from streams.vendors.contract import Vendor

# names in URLs and connections, and the module of each
MODULES: Final = {
    "stripe": "stripe",
    "chargebee": "chargebee",
    "recurly": "recurly",
    "paddle": "paddle",
    "sendgrid": "sendgrid",
    "postmark": "postmark",
    "mailgun": "mailgun",
    "resend": "resend",
    "ses": "ses",
    "mandrill": "mandrill",
    "mailjet": "mailjet",
    "brevo": "brevo",
    "sparkpost": "sparkpost",
    "mailersend": "mailersend",
    "typeform": "typeform",
    "form": "form",
    "hubspot": "hubspot",
    "pipedrive": "pipedrive",
    "segment": "segment",
    "generic": "generic",
}


def vendor_for(connection: Connection) -> Vendor:
    """The vendor of a connection, which a module without `VENDOR` makes of what the connection tells it."""
    module = importlib.import_module(f"streams.vendors.{MODULES[connection.vendor]}")
    vendor: Vendor = module.VENDOR if hasattr(module, "VENDOR") else module.vendor(connection)
    return vendor
