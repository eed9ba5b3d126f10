"""The command line ``deep-nb``."""

import contextlib
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
from click.core import ParameterSource

import deep_nb
from deep_nb import analysis, replication
from deep_nb._extras import explained
from deep_nb._printing import lenient_output
from deep_nb._start import skip_iri_grammar
from deep_nb._validation import as_path, did_you_mean, printable, select, short
from deep_nb.models import MEANINGS, MODELS, RECORDS, EngineName, Flags, Hyperparameters
from deep_nb.replication.names import CHECKSUMS, EXPERIMENTS, PROFILES

if TYPE_CHECKING:
    from deep_nb.replication.execution import Outcome
    from deep_nb.replication.jobs import Job


class Group(click.Group):
    """A group whose commands report bad input in one clear message."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command to its end, whether or not its lines can be printed."""
        skip_iri_grammar()
        with lenient_output():
            return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Turn the package's own errors into messages without a traceback."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort):  # click's own, such as after --help
            raise
        except ModuleNotFoundError as error:
            said = explained(error, f"deep-nb {ctx.invoked_subcommand}")
            raise click.ClickException(printable(str(said))) from error
        except (ValueError, OSError, RuntimeError, MemoryError) as error:
            raise click.ClickException(printable(str(error))) from error


class Word(click.Choice[str]):
    """One of a few words; the error for a misspelt one suggests the nearest."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Return the message of click with the nearest allowed word."""
        message = super().get_invalid_choice_message(value, ctx).rstrip(".")
        return message + did_you_mean(value, self.choices)


class FilePath(click.Path):
    """A path, checked as Python's functions check theirs."""

    def convert(self, value: Any, param: Any, ctx: click.Context | None) -> Path:
        """Return the path, with ``~`` expanded; refuse an option in place of a path."""
        if str(value).startswith("-"):
            self.fail(
                f"{short(str(value))} is not a path; for a file or folder of this name, put ./ "
                "before it",
                param,
                ctx,
            )
        try:
            path = as_path(value, "it")
        except ValueError as error:
            self.fail(str(error), param, ctx)
        super().convert(path, param, ctx)
        return path


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="deep-nb")
def main() -> None:
    """Reproducible equilibrium propagation for complete directed neural networks."""


def _seeds(text: str) -> list[int]:
    """Read ``0-9,12`` as the seeds 0 to 9 and 12."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip(), re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last or last - first >= 1_000_000:
            raise ValueError(f"--seeds must be numbers and ranges such as 0-9,12, got {text!r}")
        seeds.extend(range(first, last + 1))
    return seeds


def _assignments(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Read ``NAME=VALUE`` pairs, each value as JSON."""
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"--set must be NAME=VALUE, got {pair!r}")
        if name in values:
            raise ValueError(f"--set gives {name!r} more than once")
        try:
            values[name] = json.loads(value)
        except (ValueError, RecursionError):
            message = f"--set needs a number or a list such as [5], got {pair[:80]!r}"
            raise ValueError(message) from None
    return values


def _flag_options(command: Any) -> Any:  # pragma: no mutate block, called at import
    for name, field in reversed(Flags.model_fields.items()):
        option = f"--{name.replace('_', '-')}"
        command = click.option(option, name, is_flag=True, help=field.description)(command)
    return command


@main.command()
@click.argument("model")
@click.argument("task")
@click.option("--seeds", default="0", show_default=True, help="One network per seed: 0-9,12.")
@click.option(
    "--set", "hyper", multiple=True, metavar="NAME=VALUE", help="A hyperparameter; repeatable."
)
@_flag_options
@click.option(
    "--engine", type=Word(["auto", *get_args(EngineName)]), default="auto", show_default=True
)
@click.option("--threads", type=int, help="Threads of the compiled engine.  [default: cores]")
@click.option(
    "--record", multiple=True, type=Word(list(RECORDS)), help="Also save these; repeatable."
)
@click.option("-o", "--output", type=FilePath(dir_okay=False), help="netCDF file.")
def train(
    model: str,
    task: str,
    seeds: str,
    hyper: tuple[str, ...],
    engine: str,
    threads: int | None,
    record: tuple[str, ...],
    output: Path | None,
    **flags: Any,
) -> None:
    """Train networks of MODEL on TASK; see deep-nb models and deep-nb tasks."""
    if output:
        from deep_nb.run import check_target  # here: --help needs no xarray

        check_target(output)
    run = deep_nb.train(
        model,
        task,
        seeds=_seeds(seeds),
        hyper=_assignments(hyper),
        engine=engine,
        threads=threads,
        record=record,
        progress=sys.stderr.isatty(),
        **flags,
    )
    saved = f"saved {deep_nb.save(run, output)}" if output else None
    click.echo(analysis.network_table(run).to_string(float_format="{:.4f}".format))
    unstable = run["seed"].values[~analysis.step_is_stable(run).values]
    if unstable.size:
        click.echo(
            f"the Euler step is beyond its stable range in {unstable.size} of {run.sizes['seed']} "
            f"networks, seeds {', '.join(map(str, unstable))}"
        )
    if saved:
        click.echo(saved)


@main.command("models")
def list_models() -> None:
    """List the models: dynamics, rule and hyperparameters."""
    models = MODELS.values()
    rows = [["model", "rule", "activation", "leak", "outflow", "meaning"]]
    for model in models:
        outflow = f"{model.outflow:g} {'Σ|W|' if model.absolute_outflow else 'Σ W'}"
        if model.outflow == 0:
            outflow = "0"
        leak, meaning = f"{model.leak:g}", MEANINGS[model.name]
        rows.append([model.name, model.rule, model.activation, leak, outflow, meaning])
    _print_table(rows)
    rows = [["hyperparameter", *MODELS, "meaning"]]
    for name, field in Hyperparameters.model_fields.items():
        values = [getattr(model.hyper, name) for model in models]
        shown = [f"{v:g}" if isinstance(v, int | float) else str([*v]) for v in values]
        rows.append([name, *shown, field.description or ""])
    click.echo()
    _print_table(rows)


@main.command("tasks")
def list_tasks() -> None:
    """List the tasks: numbers of inputs, outputs and samples, and each sample's target."""
    rows = [["task", "inputs", "outputs", "samples", "input → target"]]
    for task in deep_nb.TASKS.values():
        pairs = [
            "→".join("".join(f"{bit:g}" for bit in bits) for bits in pair)
            for pair in zip(task.X, task.Y, strict=True)
        ]
        sizes = map(str, (task.X.shape[1], task.Y.shape[1], len(task.X)))
        rows.append([task.name, *sizes, " ".join(pairs)])
    _print_table(rows)


def _print_table(rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())


@main.command()
@click.option("--model", default="contracting DEEP", show_default=True, help="A model's name.")
@click.option("--task", default="xor", show_default=True, help="A task's name.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the network.")
@click.option(
    "-o",
    "--output",
    type=FilePath(dir_okay=False),
    default="explore.html",
    show_default=True,
    help="HTML page.",
)
def explore(model: str, task: str, seed: int, output: Path) -> None:
    """Write a page with one network to explore; it opens without Python or a network."""
    from deep_nb.explorer.page import write_page

    click.echo(f"wrote {write_page(output, model, task, seed)}")


@main.command()
@click.option(
    "--only",
    metavar="PATTERN",
    multiple=True,
    help="Claims by id, such as '1a' or '2*'; repeatable.",
)
@click.option("--seeds", default="0-99", show_default=True, help="One network per seed: 0-9,12.")
def claims(only: tuple[str, ...], seeds: str) -> None:
    """Test claims at the published settings, without the grid.

    p-values are corrected for the number of verdicts tested together (Holm). The claims about
    published figures have networks of their own, to which --seeds does not apply.
    """
    from deep_nb.claims.ensembles import CHOSEN_ON

    chosen = select(deep_nb.claims.read_claims(), "id", only or None, "claim")
    given = _seeds(seeds)
    figures = {claim.id for claim in chosen if claim.quantity == "curves"}
    trained = len(figures) < len(chosen)
    if trained and len(given) < 2:
        raise ValueError(f"--seeds must give two or more networks, got {seeds!r}")
    source = click.get_current_context().get_parameter_source("seeds")
    if source is not ParameterSource.DEFAULT and not trained:
        raise click.UsageError("--seeds has no effect on claims about published figures")
    if {*given} & {*CHOSEN_ON}:
        first, last = CHOSEN_ON[0], CHOSEN_ON[-1]
        click.echo(f"warning: settings were chosen on seeds {first} to {last}", err=True)
    evaluate = deep_nb.claims.evaluate  # says what it needs before any network is trained
    networks = deep_nb.claims.measure_all(chosen, given)
    curves = deep_nb.claims.compare_curves(chosen)
    table = evaluate(chosen, networks, curves=curves)
    tested = int(table["p"].notna().sum())
    click.echo(f"p-values corrected for {tested} verdict{'s' * (tested != 1)}")
    for _, row in table.iterrows():
        numbers = f"{row['estimate']:.3g} [{row['low']:.3g}, {row['high']:.3g}]"
        if row["p"] == row["p"]:
            numbers += f", p = {row['p_holm']:.1e}"
        apart = f", {row['runaway']} runaways apart" if row["runaway"] else ""
        apart += f"; {row['beside']}" if row["beside"] else ""
        click.echo(
            f"{row['id']:<3} {row['task']:<4} {row['statement']}\n"
            f"         evidence: {row['evidence']}\n"
            f"         {row['quantity']}: {numbers}, {row['networks']} "
            f"{'points' if row['id'] in figures else 'networks'}{apart}\n"
            f"         reproduced if {row['rule']}: {row['verdict'].upper()}"
        )


@main.command()
@click.argument("folder", type=FilePath())
def init(folder: Path) -> None:
    """Copy the notebooks and experiments.yml into a new or empty FOLDER.

    deep-nb replicate runs them there.
    """
    from deep_nb.replication.starter import lay_out

    experiments, *notebooks = lay_out(folder)
    click.echo(f"wrote {experiments} and {len(notebooks)} notebooks in {notebooks[0].parent}")
    change = "" if folder == Path() else f"cd {shlex.quote(str(folder))} && "
    click.echo(f"next: {change}deep-nb replicate --only quickstart")


def _batch_options(command: Any) -> Any:  # pragma: no mutate block, called at import
    """Add the options that select experiments and a profile."""
    experiments = click.option(
        "--experiments",
        type=FilePath(),
        default=EXPERIMENTS,
        show_default=True,
        help="Experiments file.",
    )
    profile = click.option("--profile", type=Word(PROFILES), default="quick", show_default=True)
    only = click.option(
        "--only",
        metavar="PATTERN",
        multiple=True,
        help="Experiments by name, such as 'DEEP-*'; repeatable.",
    )
    return experiments(profile(only(command)))


_output = click.option("--output", type=FilePath(), help="Folder.  [default: replication/PROFILE]")


@main.command("list")
@_batch_options
def list_experiments(experiments: Path, profile: str, only: tuple[str, ...]) -> None:
    """List the experiments and their parameters."""
    for job in replication.read_jobs(experiments, profile, only or None):
        parameters = " ".join(f"{name}={value}" for name, value in job.parameters.items())
        line = f"{job.name:<16} {job.notebook.name:<28} {parameters}".rstrip()
        click.echo(printable(line))


@main.command()
@_batch_options
@_output
@click.option("--why", is_flag=True, help="Also show the reasons: changes, damage, errors.")
def status(
    experiments: Path, profile: str, only: tuple[str, ...], output: Path | None, why: bool
) -> None:
    """Show whether each experiment is done, stale, failed or missing."""
    folder = output or Path("replication") / profile
    for job in replication.read_jobs(experiments, profile, only or None):
        at = replication.state(job, folder / job.name)
        click.echo(f"{job.name:<16} {at.status}")
        for line in at.why if why else ():
            click.echo(f"    {line}")


@main.command()
@_batch_options
@_output
@click.option(
    "--jobs", "processes", type=click.IntRange(1), help="Number at a time.  [default: cores]"
)
@click.option("--force", is_flag=True, help="Also run experiments that are done.")
@click.option("--figures", type=FilePath(), help="Also copy all figures here.")
@click.option("--scheduler", metavar="ADDRESS", help="Run on the workers of a Dask scheduler.")
def replicate(
    experiments: Path,
    profile: str,
    only: tuple[str, ...],
    output: Path | None,
    processes: int | None,
    force: bool,
    figures: Path | None,
    scheduler: str | None,
) -> None:
    """Run the experiments that are not done through papermill; exit with 1 if one fails."""
    jobs = replication.read_jobs(experiments, profile, only or None)
    folder = output or Path("replication") / profile
    if figures:
        from deep_nb.replication.batch import check_places

        check_places(jobs, figures)
    outcomes = {}
    todo = sum(force or replication.state(job, folder / job.name).status != "done" for job in jobs)
    from tqdm import tqdm

    bar = tqdm(total=todo, unit="experiment", disable=not sys.stderr.isatty())
    with _executor(scheduler) as executor, bar:
        batch = replication.replicate(
            jobs, folder, processes or os.cpu_count() or 1, executor=executor, force=force
        )
        with contextlib.closing(batch):
            for outcome in batch:
                outcomes[outcome.name] = outcome
                bar.update()
                if bar.disable:
                    line = f"{outcome.status} {outcome.name} in {outcome.seconds:.1f} s"
                    click.echo(f"{line} ({len(outcomes)} of {todo})", err=True)
    failed = [outcome for outcome in outcomes.values() if outcome.error]
    _print_outcomes(jobs, folder, outcomes)
    for outcome in failed:
        click.echo(f"\n{outcome.name} failed: {printable(outcome.error.strip())}", err=True)
    if figures:
        good = [job.name for job in jobs if job.name not in {o.name for o in failed}]
        replication.collect_figures(good, folder, figures)
    if failed:
        sys.exit(1)


def _print_outcomes(jobs: "list[Job]", folder: Path, outcomes: "dict[str, Outcome]") -> None:
    click.echo(f"{'experiment':<16} {'status':<8} {'seconds':>7}  folder")
    for job in jobs:
        now = outcomes.get(job.name)
        seconds = f"{now.seconds:.1f}" if now else "before"
        line = f"{job.name:<16} {now.status if now else 'done':<8} {seconds:>7}"
        click.echo(f"{line}  {folder / job.name}")


@contextlib.contextmanager
def _executor(scheduler: str | None) -> Iterator[Executor | None]:
    """Connect to the Dask scheduler at an address, if one is given."""
    if scheduler is None:
        yield None
        return
    try:
        from distributed import Client, Security
    except ModuleNotFoundError as error:
        raise click.ClickException(str(explained(error, "--scheduler"))) from None
    match = re.fullmatch(
        r"(?:(tcp|tls)://)?(?:\[[\da-f:]+\]|[\w.-]+):(\d{1,5})", scheduler, re.ASCII
    )
    if not match or not 0 < int(match[2]) < 2**16:
        raise ValueError(
            f"--scheduler must be an address such as tcp://192.168.0.1:8786, got {scheduler!r}"
        )
    if match[1] == "tls" and not Security().get_connection_args("client")["ssl_context"]:
        raise ValueError(f"{scheduler} needs certificates: add them to the configuration of Dask")
    try:
        client = Client(scheduler, set_as_default=False)
    except OSError as error:
        raise RuntimeError(f"no Dask scheduler answers at {scheduler}: {error}") from None
    with client:
        yield client.get_executor(pure=False)


@main.command()
@click.argument("folder", type=FilePath())
@click.option("--against", type=FilePath(), help="Compare with this batch, by numbers.")
@click.option("--rtol", type=float, default=1e-6, show_default=True, help="Relative tolerance.")
@click.option("--atol", type=float, default=1e-9, show_default=True, help="Absolute tolerance.")
@click.pass_context
def verify(
    context: click.Context, folder: Path, against: Path | None, rtol: float, atol: float
) -> None:
    """Check the files of a batch, or of its figures, in FOLDER; exit with 1 if one differs."""
    for name in ("rtol", "atol") if against is None else ():
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name} needs --against: checksums have no tolerance")
    if against is None:
        count, wrong = replication.verify(folder)
        what = f"{count} files in {folder} agree with {CHECKSUMS}"
    else:
        count, wrong = replication.compare(folder, against, rtol, atol)
        what = f"{count} files in {folder} and {against} contain the same numbers"
    for line in wrong:
        click.echo(line)
    if wrong:
        raise click.ClickException(f"{len(wrong)} differences in {count} files")
    click.echo(what)


@main.command()
@click.argument("folder", type=FilePath())
@click.option("-o", "--output", type=FilePath(), help="Page.  [default: FOLDER/report.html]")
@click.option(
    "--readme",
    type=FilePath(exists=True, dir_okay=False),
    help="Also update the tables and the sentence about real data in this Markdown page.",
)
def report(folder: Path, output: Path | None, readme: Path | None) -> None:
    """Build one self-contained HTML page from the finished batch in FOLDER."""
    from deep_nb.report import (
        insert_claims,
        insert_contracting,
        insert_real_data,
        read_table,
        write_report,
    )

    table = read_table(folder)
    if readme and table is None:
        raise ValueError(f"{folder} has no claims table: run deep-nb replicate --only claims")
    page = write_report(folder, output)
    if readme and table is not None:
        insert_claims(readme, table)
        insert_contracting(readme, folder)
        insert_real_data(readme, folder)
    click.echo(f"wrote {page}")
