"""A real Kubernetes control plane for tests: its recipe, its start and end, and small clients of it.

etcd, kube-apiserver, kube-controller-manager, kube-scheduler, helm and kubectl are compiled from the Go modules that `go.mod`
names and `go.sum` holds by hash. kwok plays the kubelets: pods become Ready, Jobs complete, containers never run.
"""
