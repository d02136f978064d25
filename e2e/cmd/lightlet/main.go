// Lightlet is a light node's stand-in for a kubelet; the lab starts one in each node's namespaces. See package light.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/herald-lb/herald/e2e/light"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatalln("lightlet:", err)
	}
}

func run(ctx context.Context) error {
	var node light.Node
	flag.StringVar(&node.Name, "node", "", "the node's name")
	flag.StringVar(&node.CNI, "cni", "", "directory of network plugins")
	flag.StringVar(&node.Dir, "dir", "/run/light", "directory for the pods' files")
	ips := flag.String("node-ip", "", "the node's addresses, with a comma between")
	programs := flag.String("programs", "", "file with lines of IMAGE PROGRAM; IMAGE has no tag")
	kubeconfig := flag.String("kubeconfig", "/etc/kubernetes/kubelet.kubeconfig", "the node's credentials")
	flag.Parse()

	node.Addresses = strings.Split(*ips, ",")
	var err error
	if node.Programs, err = light.ReadPrograms(*programs); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 100, 200
	if node.Client, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	return node.Start(ctx)
}
