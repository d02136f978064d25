package lab

// nodeFiles are a node's own files in /etc, as templates.
var nodeFiles = map[string]string{
	"hostname":   "{{.Node}}\n",
	"machine-id": "{{.MachineID}}\n",

	// No resolver listens there: names outside the cluster do not resolve, at once.
	"kubernetes/resolv.conf": "nameserver {{.Router}}\n",

	// The garbage collection of images and the eviction for want of disk are off: the disk is the whole machine's.
	"kubernetes/kubelet.yaml": `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: /etc/kubernetes/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: /etc/kubernetes/kubelet.crt
tlsPrivateKeyFile: /etc/kubernetes/kubelet.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
resolvConf: /etc/kubernetes/resolv.conf
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
imageGCHighThresholdPercent: 100
evictionHard:
  memory.available: 100Mi
  nodefs.available: "0%"
  nodefs.inodesFree: "0%"
  imagefs.available: "0%"
  imagefs.inodesFree: "0%"
`,

	// The lab may run without CAP_SYS_RESOURCE, which lowering an OOM score needs.
	"containerd/config.toml": `version = 3

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = '{{.Pause}}'

[plugins.'io.containerd.cri.v1.runtime']
disable_apparmor = true
restrict_oom_score_adj = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['{{.CNI}}']
conf_dir = '/etc/cni/net.d'

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
SystemdCgroup = false
`,

	"cni/net.d/10-lab.conflist": `{
  "cniVersion": "1.0.0",
  "name": "lab",
  "plugins": [{
    "type": "ptp",
    "ipam": {
      "type": "host-local",
      "dataDir": "/run/cni",
      "ranges": [[{"subnet": "{{.PodRange4}}"}], [{"subnet": "{{.PodRange6}}"}]],
      "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    }
  }]
}
`,
}
