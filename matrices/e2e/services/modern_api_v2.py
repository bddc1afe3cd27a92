"""modern-api-v2: the second generation of an API for items. It has all that legacy-api-v1 has, on the same store, and:

GET /v2/items?after=0&limit=20 -> {"items": [{"id", "name", "quantity", "revision"}], "next"}: a page, and the `after`
of the one that follows, null on the last; GET /v2/items/ID -> the item; PATCH /v2/items/ID {"name" or "quantity" or
both} -> the item. With `If-Match: REVISION` it is changed only if nobody else has changed it (412 otherwise).

BUG=one_page     ignores `after`, so that each page is the first
BUG=stale_reads  answers a single item from a cache, which only its own changes renew
"""

import argparse
from pathlib import Path

from _http import HttpError, Request, Routes, Server, bug
from _items import Item, Store, id_of, name_of, number, open_store, quantity_of
from legacy_api_v1 import LegacyApi

KINDS = ("one_page", "stale_reads")
PAGE = 20
PAGE_LIMIT = 100


class CachingStore(Store):
    """A store that keeps what it has read once."""

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        self._cache: dict[int, Item] = {}

    def get(self, item_id: int) -> Item:
        """An item, as it was when it was read or changed here."""
        if item_id not in self._cache:
            self._cache[item_id] = super().get(item_id)
        return self._cache[item_id]

    def change(self, item_id: int, name: str | None, quantity: int | None, revision: int | None = None) -> Item:
        """Changes an item, in the cache too."""
        self._cache[item_id] = super().change(item_id, name, quantity, revision)
        return self._cache[item_id]

    def remove(self, item_id: int) -> None:
        """Removes an item, from the cache too."""
        super().remove(item_id)
        self._cache.pop(item_id, None)


class ModernApi:
    """The routes of the second generation; the first one's are beside them."""

    def __init__(self, store: Store, kind: str = "") -> None:
        self._store = store
        self._kind = kind

    def routes(self) -> Routes:
        """What answers where."""
        return {
            **LegacyApi(self._store).routes(),
            "/v2/items": {"GET": self.items},
            "/v2/items/": {"GET": self.item, "PATCH": self.update},
        }

    def items(self, request: Request) -> dict[str, object]:
        """A page of items."""
        after = number("after", request.query.get("after", "0"))
        limit = number("limit", request.query.get("limit", str(PAGE)))
        if not 1 <= limit <= PAGE_LIMIT:
            raise HttpError(400, f"limit is {limit}; send a number from 1 to {PAGE_LIMIT}, use after for more.")
        # One more than is asked for tells whether there is a page after this one.
        items = self._store.after(0 if self._kind == "one_page" else after, limit + 1)
        page = items[:limit]
        return {"items": [item.v2() for item in page], "next": page[-1].id if len(items) > limit else None}

    def item(self, request: Request) -> dict[str, object]:
        """One item."""
        return self._store.get(id_of(request)).v2()

    def update(self, request: Request) -> dict[str, object]:
        """The item with what is named changed, and the rest as it was."""
        body = request.json()
        if not body or body.keys() - {"name", "quantity"}:
            raise HttpError(400, f"The body has {sorted(body)}; send name, or quantity, or both.")
        name = name_of(body) if "name" in body else None
        quantity = quantity_of(body) if "quantity" in body else None
        return self._store.change(id_of(request), name, quantity, wanted_revision(request)).v2()


def wanted_revision(request: Request) -> int | None:
    """The revision that a change is made for; None where any will do.

    Raises:
        HttpError: 400, the header says something else.
    """
    value = request.headers.get("If-Match")
    return None if value is None else number("If-Match", value)


def main() -> None:
    """Runs the service until it is told to stop."""
    parser = argparse.ArgumentParser(description="Serves items by both generations of their API.")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder of the store")
    data, kind = parser.parse_args().data, bug(*KINDS)
    store = open_store("modern-api-v2", data, CachingStore if kind == "stale_reads" else Store)
    Server("modern-api-v2", ModernApi(store, kind).routes()).run()


if __name__ == "__main__":
    main()
