"""A local Ray cluster of several nodes, each with a raylet of its own, until its input ends.

Run by the Python of .venv-ray: `ray_cluster.py NODES`. The first line of its output is the address.
Every node has two processors, one of which reads, and one `NPU`: a number to Ray, which no driver
reports here.
"""

import sys

from ray.cluster_utils import Cluster

if __name__ == "__main__":
    node = {"num_cpus": 2, "resources": {"NPU": 1}, "object_store_memory": 80 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    for _ in range(int(sys.argv[1]) - 1):
        cluster.add_node(**node)
    cluster.wait_for_nodes()
    print(cluster.address, flush=True)
    sys.stdin.read()
    cluster.shutdown()
