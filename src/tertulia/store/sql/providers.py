"""Stored providers as rows."""

from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from tertulia.domain.errors import NameTaken, NotFound
from tertulia.domain.providers import StoredProvider
from tertulia.ports.queries import ProviderQuery
from tertulia.store.sql.pages import Order, fetch_page
from tertulia.store.sql.session import Session
from tertulia.store.sql.tables import providers

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(StoredProvider).decode

_GET: Final = "SELECT body FROM providers WHERE id = ?"
_ORDER: Final = Order(providers.c.created_at, providers.c.id)


def _row(provider: StoredProvider) -> dict[str, Any]:
    return {
        "id": provider.id,
        "name": provider.name,
        "provider_type": provider.provider_type,
        "created_at": provider.created_at,
        "body": _encode(provider).decode(),
    }


class SqlProviders:
    def __init__(self, session: Session) -> None:
        self._session = session

    def insert(self, provider: StoredProvider) -> None:
        try:
            self._session.change(sa.insert(providers), _row(provider))
        except IntegrityError as error:
            raise NameTaken("provider", provider.name) from error

    def get(self, provider_id: str) -> StoredProvider:
        row = self._session.row(self._session.locking(_GET, "FOR NO KEY UPDATE"), provider_id)
        if row is None:
            raise NotFound("Provider", provider_id)
        return _decode(row[0])

    def update(self, provider: StoredProvider) -> None:
        """:raises NotFound: if it is not there any more."""
        if not self._session.change(sa.update(providers).where(providers.c.id == provider.id), _row(provider)):
            raise NotFound("Provider", provider.id)

    def delete(self, provider_id: str) -> None:
        if not self._session.change(sa.delete(providers).where(providers.c.id == provider_id)):
            raise NotFound("Provider", provider_id)

    def find(self, query: ProviderQuery) -> list[StoredProvider]:
        equal = {"name": query.name, "provider_type": query.provider_type}
        conditions = [providers.c[column] == value for column, value in equal.items() if value is not None]
        bodies = fetch_page(
            self._session, sa.select(providers.c.body).where(*conditions), _ORDER, query.page, "Provider"
        )
        return [_decode(body) for body in bodies]

    def all(self) -> list[StoredProvider]:
        statement = sa.select(providers.c.body).order_by(providers.c.name)
        return [_decode(body) for body in self._session.first_column(statement)]
