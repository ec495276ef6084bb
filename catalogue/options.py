"""The command line's options."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from .ledger import BAD, FAILED, REFUSED


def make_parser(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="catalogue", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text)

    def workflow(own: argparse.ArgumentParser, required: bool) -> None:
        own.add_argument("catalogue", help="CSV, JSON Lines or Parquet file, or the address of one in a store")
        own.add_argument("--workflow", type=Path, required=required, help="graph as File > Export (API) saves it")
        own.add_argument("--bindings", type=Path, help="TOML file; WORKFLOW.bindings.toml is found by itself")
        own.add_argument(
            "--bind", action="append", default=[], metavar="NODE.INPUT=VALUE", help="'Sampler.seed={seed}'"
        )
        own.add_argument("--output", action="append", default=[], metavar="NAME=NODE", help="'picture=Save picture'")
        own.add_argument("--score", metavar="NODE", help="the node that reports a picture's score")
        own.add_argument("--min-score", type=_number, help="below it, further seeds are tried and the best is kept")
        own.add_argument("--tries", type=_positive, default=4, help="seeds to try at most")
        own.add_argument("--limit", type=_seconds, default=600.0, help="seconds that one graph may execute")
        own.add_argument("--server", action="append", default=[], metavar="URL")
        own.add_argument(
            "--header", action="append", default=[], metavar="'NAME: VALUE'", help="sent with every request"
        )
        own.add_argument("--token-env", metavar="VARIABLE", help="environment variable with a bearer token")
        own.add_argument("--ca", metavar="FILE", help="certificate authority of the servers")

    def folder(own: argparse.ArgumentParser) -> None:
        own.add_argument("out", help="output folder of a run")
        own.add_argument("--ledger", help="the ledger's file, if it isn't OUT/ledger.sqlite3")

    check = command("check", "say what is wrong with a catalogue, every bad row at once; with a server, all of it")
    workflow(check, required=False)

    run = command("run", "paint every product; the same command goes on after any stop")
    workflow(run, required=True)
    run.add_argument("--out", required=True, help="output folder, or a store's address with --ledger")
    run.add_argument("--ledger", help="the ledger's file, if it isn't OUT/ledger.sqlite3")
    run.add_argument("--servers", type=Path, metavar="FILE", help="addresses, a line each; read again when it changes")
    run.add_argument("--in-flight", type=_positive, default=4, help="the most jobs that one server holds")
    run.add_argument("--attempts", type=_positive, default=3, help="how often a job may fail")
    run.add_argument("--patience", type=_seconds, default=600.0, help="seconds to go on without any server")
    run.add_argument("--engine", choices=("asyncio", "ray"), default="asyncio")
    run.add_argument("--retry", action="store_true", help="also try again what failed before")

    folder(command("status", "how far a run is, and why jobs failed"))
    retry = command("retry", "let jobs be tried again that ended without a picture")
    folder(retry)
    retry.add_argument("id", nargs="*", help="only these products")
    retry.add_argument("--state", action="append", choices=(FAILED, REFUSED, BAD))
    folder(command("report", "one HTML page of all pictures"))
    return parser


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number


def _number(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise argparse.ArgumentTypeError(f"{text} is no number")
    return number


def _seconds(text: str) -> float:
    if (number := _number(text)) <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number
