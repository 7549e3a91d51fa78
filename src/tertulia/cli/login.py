"""`tertulia login` and `tertulia logout`: providers that an account is signed in to, in place of a key."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import click

from tertulia.cli.account_places import place_of
from tertulia.cli.configured import load_settings, server_options
from tertulia.cli.logs import configure_logs
from tertulia.cli.problems import Problem
from tertulia.domain.errors import ProviderError, TertuliaError
from tertulia.providers.chatgpt.sign_in import request_device_code, wait_for_tokens
from tertulia.providers.chatgpt.tokens import AUTH_BASE_URL, ChatGPTTokens, to_json
from tertulia.settings import Settings

CHATGPT: Final = "chatgpt_oauth"
"""Both the type of the stored provider and its name."""

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _place_options(command: _Command) -> _Command:
    url = click.option(
        "--url",
        metavar="URL",
        help="A running server; by default the one at the host and port, or else the data directory.",
    )
    return server_options(url(command))


@click.group()
def login() -> None:
    """Sign in to a provider with an account."""


@click.group()
def logout() -> None:
    """Remove an account that was signed in to."""


@login.command("chatgpt")
@_place_options
def login_chatgpt(url: str | None, **options: Any) -> None:
    """Use the models of a ChatGPT plan, by confirming a code in any browser.

    A running server can use the account at once; set TERTULIA_API_KEY if it requires a key.
    """
    _run(_sign_in, url, options)


@logout.command("chatgpt")
@_place_options
def logout_chatgpt(url: str | None, **options: Any) -> None:
    """Remove the ChatGPT account and its tokens."""
    _run(_sign_out, url, options)


def _run(
    command: Callable[[Settings, str | None], Coroutine[Any, Any, None]], url: str | None, options: dict[str, Any]
) -> None:
    settings = load_settings(options)
    configure_logs("error", "console")
    try:
        asyncio.run(command(settings, url))
    except ProviderError as error:
        raise Problem(f"{error.message} ({error.detail})" if error.detail != error.message else str(error)) from error
    except TertuliaError as error:
        raise Problem(str(error)) from error


async def _sign_in(settings: Settings, url: str | None) -> None:
    await place_of(settings, url)  # what is wrong with it is told before the user is asked for anything
    auth_base_url = settings.providers.chatgpt_auth_base_url or AUTH_BASE_URL
    code = await request_device_code(auth_base_url)
    click.echo(f"Open {code.verification_url} and enter the code {code.user_code}")
    click.echo("Waiting for the confirmation; press Ctrl-C to give up.")
    tokens = await wait_for_tokens(code, auth_base_url)
    place = await place_of(settings, url)  # a server may have been started or stopped meanwhile
    await place.put(CHATGPT, CHATGPT, to_json(tokens))
    click.echo(f"Signed in{_as_whom(tokens)}. Its models have the handles {CHATGPT}/…, {place.when}.")


async def _sign_out(settings: Settings, url: str | None) -> None:
    place = await place_of(settings, url)
    if await place.remove(CHATGPT):
        click.echo("The ChatGPT account has been removed. Agents that use its models need another model.")
    else:
        click.echo("No ChatGPT account was signed in.")


def _as_whom(tokens: ChatGPTTokens) -> str:
    plan = f" ({tokens.plan})" if tokens.plan else ""
    return f" as {tokens.email}{plan}" if tokens.email else plan
