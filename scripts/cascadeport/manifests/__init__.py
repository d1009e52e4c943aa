"""Kubernetes: a frozen image as an Indexed Job and as a Deployment. docs/kubernetes.md.

subject.py  what is deployed: the image, its labels, how many
pod.py      a pod, as restricted as the target's compose file declares
infer.py    pictures in shards: an Indexed Job, and the Job that merges them
serve.py    detections over HTTP: Deployment, Service, probes, budget, autoscaling
volcano.py  the same for clusters that Volcano schedules
folder.py   writes all of it, with its kustomizations
"""
