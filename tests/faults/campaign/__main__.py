"""`python -m faults.campaign`: runs campaigns, one per seed, and prints a table of findings. Exit code 1 if a promise was broken."""

import argparse
import logging
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from faults.campaign import clock
from faults.campaign.campaign import MOMENTS, Campaign
from faults.campaign.report import Findings, fault_lines, table
from faults.campaign.schedule import KINDS, Schedule, schedule
from faults.campaign.starting import running_cluster


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m faults.campaign", description=__doc__)
    parser.add_argument("--seed", type=int, help="seed of one campaign; the time of day if none is given")
    parser.add_argument("--seeds", help="seeds of several campaigns, one after another: 1,2,3")
    parser.add_argument("--minutes", type=float, default=2.0, help="how long faults happen (default 2)")
    parser.add_argument(
        "--rate", type=float, default=150.0, help="depth frames a second over all markets (default 150)"
    )
    parser.add_argument("--moments", type=int, default=MOMENTS, help=f"past moments looked at (default {MOMENTS})")
    parser.add_argument("--kinds", help=f"only these kinds of fault: {','.join(sorted(KINDS))}")
    parser.add_argument("--with-topic-faults", action="store_true", help="recreate topics and add partitions too")
    parser.add_argument(
        "--with-platform-faults",
        action="store_true",
        help="move brokers, rotate certificates, compress topics and cut the proxy too; Kafka then speaks TLS",
    )
    parser.add_argument(
        "--folder", type=Path, help="where logs and reports go (default: a new folder for temporary files)"
    )
    parser.add_argument("--schedule", action="store_true", help="print the faults of the seed and end")
    return parser


def say(text: str) -> None:
    """Print at once, also to a file."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Run the campaigns of the command line."""
    options = _options().parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("faults").setLevel(logging.INFO)
    seeds = [int(each) for each in options.seeds.split(",")] if options.seeds else [options.seed or int(time.time())]
    kinds = options.kinds.split(",") if options.kinds else None
    more = {"with_topic_faults": options.with_topic_faults, "with_platform_faults": options.with_platform_faults}
    plans = [schedule(seed, options.minutes * 60, kinds=kinds, **more) for seed in seeds]
    if options.schedule:
        say("\n\n".join(f"seed {plan.seed}, doubled {plan.doubled}\n{fault_lines(plan.faults)}" for plan in plans))
        return 0
    if clock.library() is None:
        say("libfaketime is not installed (apt: faketime): no clock is stepped")
    root = options.folder or Path(tempfile.mkdtemp(prefix="campaign-"))
    done: list[Findings] = []
    for plan in plans:
        folder = root / f"seed-{plan.seed}"
        folder.mkdir(parents=True, exist_ok=True)
        done.append(findings := _campaign(plan, folder, options.rate, options.moments))
        say(f"{findings.details() if findings.failed else findings.row()}\nin {folder}")
        (root / "table.md").write_text(table(done))  # the finished ones: the next seed may take long, or never end
    say(f"\n{table(done)}\nin {root}")
    return int(any(each.failed for each in done))


def _campaign(plan: Schedule, folder: Path, rate: float, moments: int) -> Findings:
    """Run one campaign on its own cluster. One that cannot finish has failed, and does not stop the next one."""
    findings = Findings(plan, 0)
    try:
        with running_cluster(plan, folder) as cluster:
            campaign = Campaign(cluster, folder, plan, rate, moments)
            findings = campaign.findings
            campaign.run()
    except Exception:
        logging.getLogger("faults").exception("seed %s did not come to its end", plan.seed)
        findings.broken.append(f"the campaign did not come to its end: {traceback.format_exc(limit=-3)}")
        (folder / "report.md").write_text(findings.details())
    for data in (folder / "kafka").glob("broker-*"):  # keep the brokers' logs
        shutil.rmtree(data, ignore_errors=True)
    return findings


if __name__ == "__main__":
    sys.exit(main())
