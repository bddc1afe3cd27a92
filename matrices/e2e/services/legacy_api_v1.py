"""legacy-api-v1: the first generation of an API for items, on a store that modern-api-v2 has too (see _items.py).

GET /v1/items -> {"items": [{"id", "name", "quantity"}]}, all of them; POST /v1/items {"name", "quantity"} -> the item;
GET /v1/items/ID -> the item; PUT /v1/items/ID {"name", "quantity"} -> the item; DELETE /v1/items/ID -> {"deleted": ID}.

BUG=keeps_deleted says that it has deleted an item, and has not.
"""

import argparse
from pathlib import Path

from _http import Request, Routes, Server, bug
from _items import Store, id_of, name_of, open_store, quantity_of

KINDS = ("keeps_deleted",)


class LegacyApi:
    """The routes of the first generation."""

    def __init__(self, store: Store, kind: str = "") -> None:
        self._store = store
        self._kind = kind

    def routes(self) -> Routes:
        """What answers where."""
        return {
            "/v1/items": {"GET": self.items, "POST": self.add},
            "/v1/items/": {"GET": self.item, "PUT": self.replace, "DELETE": self.remove},
        }

    def items(self, _request: Request) -> dict[str, object]:
        """All items."""
        return {"items": [item.v1() for item in self._store.after(0, -1)]}

    def add(self, request: Request) -> dict[str, object]:
        """A new item."""
        body = request.json()
        return self._store.add(name_of(body), quantity_of(body)).v1()

    def item(self, request: Request) -> dict[str, object]:
        """One item."""
        return self._store.get(id_of(request)).v1()

    def replace(self, request: Request) -> dict[str, object]:
        """The item with another name and quantity."""
        body = request.json()
        return self._store.change(id_of(request), name_of(body), quantity_of(body)).v1()

    def remove(self, request: Request) -> dict[str, object]:
        """The item is gone."""
        if self._kind != "keeps_deleted":
            self._store.remove(id_of(request))
        return {"deleted": id_of(request)}


def main() -> None:
    """Runs the service until it is told to stop."""
    parser = argparse.ArgumentParser(description="Serves items by the first generation of their API.")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder of the store")
    api = LegacyApi(open_store("legacy-api-v1", parser.parse_args().data), bug(*KINDS))
    Server("legacy-api-v1", api.routes()).run()


if __name__ == "__main__":
    main()
