"""Which contact a name means: names of people and of browsers are one namespace (language page, sections 1 and 9)."""

from schemas.events import Event


class Names:
    """The names that have been linked, each to the contact that it means now."""

    def __init__(self) -> None:
        self._contact: dict[str, str] = {}
        self._names: dict[str, set[str]] = {}

    def contact_of(self, name: str) -> str:
        """The contact that a name means: itself, where it is not linked."""
        return self._contact.get(name, name)

    def absorbed_by(self, event: Event) -> str | None:
        """The contact that an event makes part of `event.contact` (which is resolved); None where it links nothing new.

        An `identify` links an anonymous id only where that is not linked yet: people share browsers.
        """
        name = event.links
        if name is None or (event.type == "identify" and name in self._contact):
            return None
        contact = self.contact_of(name)
        return None if contact == event.contact else contact

    def link(self, other: str, contact: str) -> None:
        """From now on the contact `other`, and every name that means it, means `contact`."""
        names = self._names.setdefault(contact, set())
        for name in (other, *self._names.pop(other, ())):
            self._contact[name] = contact
            names.add(name)

    def forget(self, contact: str) -> None:
        """Nothing means the contact any more but its own id."""
        for name in self._names.pop(contact, ()):
            del self._contact[name]
