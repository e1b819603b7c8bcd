"""All commands of `phin-connectwise`, in the order in which its help shows them."""

from worker.cli.lazy_commands import LazyCommand

COORDINATE, OPERATE, TRY = "Connect, map, push, look", "Operate", "Try"
"""The groups of commands in `--help`, in this order."""

COMMANDS = {
    "connection": LazyCommand(
        "worker.cli.connection", "commands", COORDINATE, "Connect a partner's ConnectWise, and see whether it works."
    ),
    "catalog": LazyCommand(
        "worker.cli.catalog", "commands", COORDINATE, "List what can be chosen in ConnectWise to map a company to."
    ),
    "mapping": LazyCommand(
        "worker.cli.suggest",
        "commands",
        COORDINATE,
        "Map companies to ConnectWise companies, agreements and additions.",
    ),
    "push": LazyCommand(
        "worker.cli.push", "commands", COORDINATE, "Set the quantities of a billing period, or stop doing so."
    ),
    "status": LazyCommand("worker.cli.status", "commands", COORDINATE, "Show what became of pushes."),
    "revert": LazyCommand(
        "worker.cli.revert",
        "revert",
        COORDINATE,
        "Put back the quantities that additions held before a push. Asks first.",
    ),
    "ledger": LazyCommand(
        "worker.cli.ledger", "commands", COORDINATE, "See every write to ConnectWise: who, when, before, after."
    ),
    "worker": LazyCommand(
        "worker.cli.service",
        "worker",
        OPERATE,
        "Work until SIGTERM or SIGINT: take events, make ConnectWise match, publish results.",
    ),
    "web": LazyCommand(
        "worker.cli.web",
        "web",
        OPERATE,
        "Serve the portal of coordinators and the operators' console until SIGTERM or SIGINT.",
    ),
    "web-user": LazyCommand("worker.cli.web", "users", OPERATE, "Keep the file of users of the pages."),
    "health": LazyCommand(
        "worker.cli.health", "health", OPERATE, "Look at the workers, the database, RabbitMQ, and at what waits."
    ),
    "pause": LazyCommand(
        "worker.cli.control",
        "pause",
        OPERATE,
        "Leave ConnectWise of a partner, or of all, alone until `resume`. What is under way is finished.",
    ),
    "resume": LazyCommand(
        "worker.cli.control",
        "resume",
        OPERATE,
        "End a pause: what waits goes on, by the worker or, without RabbitMQ, by the next command that pushes.",
    ),
    "dead-letters": LazyCommand(
        "worker.cli.dead_letters",
        "commands",
        OPERATE,
        "See what failed and why, and send it again once the cause is gone.",
    ),
    "actions": LazyCommand(
        "worker.cli.actions", "actions", OPERATE, "Show what operators did: who, when, why, and how far it is."
    ),
    "db": LazyCommand(
        "worker.cli.service", "db", OPERATE, "Bring the tables to this version, look whether they are; remove old rows."
    ),
    "topology": LazyCommand(
        "worker.cli.service", "topology", OPERATE, "Declare the exchanges and queues in RabbitMQ, or look for them."
    ),
    "keys": LazyCommand(
        "worker.cli.keys", "commands", OPERATE, "Make the keys that private keys are sealed with; replace them."
    ),
    "demo": LazyCommand(
        "worker.cli.demo",
        "demo",
        TRY,
        "Push a sample of 25 companies into a simulated ConnectWise: no server, no settings, nothing leaves this"
        " machine.",
    ),
    "simulator": LazyCommand(
        "worker.cli.service",
        "simulator",
        TRY,
        "Serve a simulated ConnectWise until SIGTERM or SIGINT. Prints one line of JSON when ready: url, ca_file, log.",
    ),
}
