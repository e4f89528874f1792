"""A conversion in parts on a Ray cluster: python ray_parts.py N SOURCE TARGET [OPTIONS…]

Every node needs the command on its PATH and sees TARGET under the same path.
"""

import subprocess
import sys

import ray


# A part whose node is lost begins again on another one, and continues what is there; so does one that failed.
@ray.remote(num_cpus=2, max_retries=3, retry_exceptions=[subprocess.CalledProcessError])
def part(number: int, count: int, arguments: list[str]) -> None:
    subprocess.run(["convert-checkpoint", "convert", *arguments, "--part", f"{number}/{count}", "--resume"], check=True)


count, arguments = int(sys.argv[1]), sys.argv[2:]
ray.init()
ray.get([part.remote(number + 1, count, arguments) for number in range(count)])
subprocess.run(["convert-checkpoint", "finalize", arguments[1]], check=True)
