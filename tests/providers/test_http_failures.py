"""What replies of servers that refuse say of when to come back."""

import time
from email.utils import formatdate

import httpx2
import pytest

from tertulia.providers.http.failures import retry_after


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": formatdate(0, usegmt=True)}, 0),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_the_time_to_wait_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(httpx2.Response(429, headers=headers)) == seconds


def test_a_date_to_come_back_at_is_counted_from_now() -> None:
    wait = retry_after(httpx2.Response(429, headers={"retry-after": formatdate(time.time() + 1000, usegmt=True)}))
    assert wait is not None
    assert 900 < wait <= 1000
