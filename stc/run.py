"""``python -m stc.run [-m] [-v] [group=member] [key=value] …``: compose, validate and run the jobs of a command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stc.config.hydra_arguments import config_groups, parse_arguments
from stc.config.override_checks import check_arguments, is_sweep, require_launcher, split_plan_option
from stc.errors import ConfigError, StcError
from stc.jobs.hydra_task import format_faults
from stc.system.console import use_utf8_output
from stc.system.paths import CONF, set_root_variable
from stc.system.signals import Killed, killable

if TYPE_CHECKING:
    from stc.config.composition import ComposedJob

_HELP = """stc: make a speech-translation model small, and show what it cost

usage: python -m stc.run [-m] [-v] [GROUP=MEMBER] [KEY=VALUE] …

Groups (the first word of a line is the key):
{groups}

Keys one often sets:
  prune.ratio=0.5            fraction of the layers of the scope removed
  prune.scope=both           remove layers of the decoder, the encoder, or both
  prune.metric=bleu          what a greedy search goes by: a metric, or loss
  model.path=FOLDER          a Hugging Face folder or hub id
  data.path=FOLDER           <split>.jsonl files and their audio
  data.limit=50              only the first utterances of each split
  stages.heal.epochs=2       a setting of one stage, by its name
  stages.teacher.from=FOLDER a model that stands in for a stage
  seeds=[1,2,3]              the run with each seed, and mean ± deviation
  fail_fast=true             begin no job of a sweep after one that failed
  force=[heal]               make a stage anew, and what follows from it
  store.dir=FOLDER           where results are kept
  store.keep=final           drop intermediate models as soon as nothing needs them
  verbose=true               say why a stage is made, with hashes (also -v)
  plan=true                  say what would be done, with sizes, and do nothing

A path may have any letters; a comma in a sweep, and what else Hydra reads (quotes, brackets, a space at an end), goes
in quotes of its own: data.path='"a, b"'. ~ is the home folder. --config-dir=FOLDER adds members to the groups.

Examples:
  python -m stc.run prune.ratio=0.5 lang=zh
  python -m stc.run -m prune.ratio=0.25,0.5 lang=de,zh
  python -m stc.run -m prune=greedy,block_influence,angular,middle,random lang=zh
  python -m stc.run model=qwen2_audio_7b finetune=published_full --cfg job

--cfg job prints the composed config. Results: the table, result.json in the run's folder, and MLflow (make ui).
"""


def main() -> int:
    """Run the command line. Return 0, 1 (failed), 2 (the config is faulty) or 128 + signal."""
    set_root_variable()
    use_utf8_output()
    try:
        options = parse_arguments(sys.argv[1:])
        if options.help:
            listing = "\n".join(f"  {name:12} {', '.join(members)}" for name, members in config_groups(options).items())
            print(_HELP.format(groups=listing), end="")
            return 0
        planning, arguments = split_plan_option(sys.argv[1:])
        arguments = check_arguments(arguments)
        jobs: list[ComposedJob] = []
        if planning:
            from stc.planning.plan_command import print_plan

            return print_plan(arguments)
        if not (options.cfg or options.info or options.hydra_help or options.shell_completion):
            from stc.config.composition import validate_jobs
            from stc.planning.preflight import check_jobs

            arguments, jobs = validate_jobs(arguments)
            check_jobs([job.plan for job in jobs], running=True)
            require_launcher(arguments)
    except ConfigError as error:
        print(format_faults(error), file=sys.stderr)
        return 2
    except StcError as error:
        print(f"stc: {error}", file=sys.stderr)
        return 1
    return _run_in_hydra(arguments, jobs)


def _run_in_hydra(arguments: list[str], jobs: Sequence[ComposedJob]) -> int:
    import hydra

    from stc.jobs.hydra_task import execute_job

    job = hydra.main(version_base=None, config_path=str(CONF), config_name="config")(execute_job)

    def start(given: list[str]) -> None:
        sys.argv[1:] = given
        job()

    if is_sweep(arguments):
        from stc.jobs.shared_results import kept_for_all
        from stc.jobs.sweep import run_sweep

        try:
            with kept_for_all(jobs) as drop_rest:
                code = run_sweep(start, arguments)
                if code == 0:
                    drop_rest()
                return code
        except StcError as error:
            print(f"stc: {error}", file=sys.stderr)
            return 1
    try:
        with killable():
            start(arguments)
    except Killed as killed:
        return 128 + killed.signum
    return 0


if __name__ == "__main__":
    sys.exit(main())
