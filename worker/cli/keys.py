"""`keys`: generate and rotate seal keys."""

from typing import Annotated

import typer

from messages import KeyRing, generate_keypair
from worker.cli.commands import Commands
from worker.cli.display.output import complain, dump, safe, say, table
from worker.cli.exits import UNFINISHED
from worker.cli.key_rotation import Rotation, rotate
from worker.cli.options import AsJson
from worker.cli.session import session
from worker.setting_names import PREFIX

commands = Commands(no_args_is_help=True)


@commands.command()
def generate(*, as_json: AsJson = False) -> None:
    """Make a pair of seal keys: the private half for the worker, the public half for the platform.

    To replace a key see `phin-connectwise keys rotate --help`.
    """
    pair = generate_keypair()
    if as_json:
        dump({"key_id": pair.key_id, "private": pair.private, "public": pair.public})
        return
    say("# For the worker. Keep it secret: it opens every private key that was sealed for it.")
    say(f"PHIN_CONNECTWISE_SEAL_KEYS={pair.private}")
    # All lines but the setting are comments, so that the output can be appended to .env.
    say("# For the platform, which seals with it. Not a secret:")
    say(f"# {pair.public}")


@commands.command("rotate")
def rotate_(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Seal everything that is stored sealed anew with the first of PHIN_CONNECTWISE_SEAL_KEYS.

    That is the private keys of connections and the bodies of dead letters. To replace a seal key:

    1. `phin-connectwise keys generate`; put the new private key first in SEAL_KEYS, the old one behind it after a
    comma, for all workers. What is sealed with the old one still opens.

    2. Give the new public key to the platform.

    3. `phin-connectwise keys rotate`, again until the platform uses the new key only.

    4. Remove from SEAL_KEYS the keys that it names. What was sealed with them and is still in a queue will not open.

    Safe beside running workers, and to run again. Exit code 1 if something could not be opened: it is named with what
    to do, and left as it is. What waits to be sent is not sealed anew; while there is some, its key is not named.
    """
    with session() as opened:
        seal_keys = opened.settings.require("seal_keys").seal_keys
        ring = KeyRing.parse(seal_keys.get_secret_value() if seal_keys else "")
        rotation = rotate(opened.database, ring, dry_run=dry_run)
    if as_json:
        dump(_as_json(rotation, dry_run=dry_run))
    else:
        _show(rotation, dry_run=dry_run)
    if rotation.unopened:
        raise typer.Exit(UNFINISHED)


def _show(rotation: Rotation, *, dry_run: bool) -> None:
    counts = rotation.resealed
    would = "Would be sealed" if dry_run else "Sealed"
    say(
        f"{would} anew with the key {rotation.key_id}: connections {counts['connection']:,},"
        f" dead letters {counts['dead_letter']:,}."
    )
    if rotation.unopened:
        complain(f"{len(rotation.unopened):,} could not be opened and stay as they are:")
        rows = [
            [
                safe(one.sealed.partner_id or ""),
                safe("connection" if one.sealed.place == "connection" else f"dead letter {one.sealed.row}"),
                safe(one.reason),
                safe(one.fix),
            ]
            for one in rotation.unopened
        ]
        table(("Partner", "What", "Why", "What to do"), rows)
    for key_id in rotation.removable:
        say(
            f"Nothing {'would be' if dry_run else 'is'} sealed with the key {key_id} any more: once the platform seals"
            f" with {rotation.key_id}, remove it from {PREFIX}SEAL_KEYS."
        )


def _as_json(rotation: Rotation, *, dry_run: bool) -> dict[str, object]:
    return {
        "key_id": rotation.key_id,
        "dry_run": dry_run,
        "resealed": rotation.resealed,
        "unopened": [
            {
                "place": one.sealed.place,
                "partner_id": one.sealed.partner_id,
                "row": one.sealed.row,
                "key_id": one.sealed.key_id,
                "reason": one.reason,
                "fix": one.fix,
            }
            for one in rotation.unopened
        ],
        "in_use": rotation.in_use,
        "removable": rotation.removable,
    }
