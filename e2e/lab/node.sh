# A node's first process: turns a process in namespaces of its own into what looks like a machine to a kubelet.
# It runs in the node's network, mount, UTS, IPC, PID and cgroup namespaces; when it dies, all of the node dies with it.
#
# NODE is the node's name, DIR its directory, CACHE the directory of the lab's programs, PROGRAMS that of those which a
# light node runs for images; LIGHT is set for a light node.
set -eu

# Nothing that is mounted here reaches the machine, and other hosts' namespaces are not kept alive from here.
mount --make-rprivate /
umount --lazy /run/netns 2>/dev/null || true
mount -t proc proc /proc

# The usual paths hold the node's own files. /var must be a real file system: container layers are stacked on it.
mount -t tmpfs run /run
mkdir -p /run/lab/cache /run/lab/node /run/lab/programs /run/lock
mount --bind "$CACHE" /run/lab/cache
mount --bind "$PROGRAMS" /run/lab/programs
mount --bind "$DIR" /run/lab/node
mount -t overlay etc -o "lowerdir=/etc,upperdir=/run/lab/node/etc,workdir=/run/lab/node/etc-work" /etc
mount --bind /run/lab/node/var /var
mkdir -p /var/log /var/lib /var/tmp
ln -sfn /run /var/run
hostname "$NODE"

# Control groups as the node sees them: its own group is the root. /proc/self/cgroup has v1's controllers, if any.
mount -t tmpfs cgroup /sys/fs/cgroup
controllers=$(cut -d: -f2 /proc/self/cgroup | grep . || true)
if [ -z "$controllers" ]; then
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
	sed 's/[a-z]\+/+&/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
fi
for c in $controllers; do
	mkdir "/sys/fs/cgroup/${c#name=}"
	mount -t cgroup -o "$c" cgroup "/sys/fs/cgroup/${c#name=}"
	for alias in $(echo "$c" | tr , ' '); do
		[ -e "/sys/fs/cgroup/${alias#name=}" ] || ln -s "$c" "/sys/fs/cgroup/$alias"
	done
done

# The kubelet sets six sysctls that are the whole machine's. It finds the values that it wants in plain files.
while read -r path value; do
	mkdir -p "/run/lab/sysctl/${path%/*}"
	echo "$value" >"/run/lab/sysctl/$path"
	mount --bind "/run/lab/sysctl/$path" "/proc/sys/$path"
done <<END
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
END

# Volumes that the kubelet mounts must show in containers that run already.
mount --make-rshared /

# The API server knows this node once the lab has written this file.
await_registration() { until [ -e /run/lab/node/registered ]; do sleep 0.05; done; }

proxy() {
	await_registration
	exec kube-proxy --kubeconfig=/etc/kubernetes/kube-proxy.kubeconfig --hostname-override="$NODE" \
		--proxy-mode="$PROXY_MODE" --cluster-cidr="$POD_RANGES" --conntrack-max-per-core=0 \
		--conntrack-tcp-timeout-established=0s --conntrack-tcp-timeout-close-wait=0s --healthz-bind-address=0.0.0.0:10256
}

runtime() { exec containerd --config /etc/containerd/config.toml; }

kubelet_with_images() {
	until ctr version >/dev/null 2>&1; do sleep 0.05; done
	for image in /run/lab/node/images/*.tar; do
		ctr -n k8s.io images import "$image"
	done
	await_registration
	exec kubelet --config=/etc/kubernetes/kubelet.yaml --kubeconfig=/etc/kubernetes/kubelet.kubeconfig \
		--hostname-override="$NODE" --node-ip="$NODE_IPS"
}

light_kubelet() {
	await_registration
	exec lightlet --node="$NODE" --node-ip="$NODE_IPS" --cni="$CNI" --programs=/run/lab/programs/list
}

proxy >>/var/log/kube-proxy.log 2>&1 &
if [ -n "${LIGHT:-}" ]; then
	light_kubelet >>/var/log/lightlet.log 2>&1 &
else
	runtime >>/var/log/containerd.log 2>&1 &
	kubelet_with_images >>/var/log/kubelet.log 2>&1 &
fi

# The node stays up when its programs end, as a machine would.
while :; do
	wait
	sleep infinity || true
done
