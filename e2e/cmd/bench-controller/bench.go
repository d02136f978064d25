package main

import (
	"context"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/herald-lb/herald/e2e/allocation"
	"github.com/herald-lb/herald/e2e/experiment"
	"github.com/herald-lb/herald/e2e/lab"
)

// namespace holds the Services that are measured.
const namespace = "default"

// clients is how many create Services at a time, where it is to be many.
const clients = 8

const pool = `
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: bench, namespace: metallb-system}
spec: {addresses: [10.200.0.0/16]}
`

// measure is how a thing is found out. It adds its figures to the report.
type measure func(context.Context, *bench, *allocation.Controller, *report) error

// bench runs experiments, each with a controller that has just been started, in a world without Services.
type bench struct {
	world      *allocation.World
	binary     string
	kubeconfig string
	args       []string
	out        io.Writer
}

func (b *bench) prepare(ctx context.Context) error {
	if err := b.world.Kubeconfig(ctx, b.kubeconfig); err != nil {
		return err
	}
	return b.world.Lab.Apply(ctx, pool)
}

func (b *bench) measure(ctx context.Context, e experiment.Experiment[measure], runs int) error {
	r := &report{title: e.What}
	for i := range runs {
		if err := b.once(ctx, e, r); err != nil {
			return err
		}
		fmt.Fprintf(b.out, "        … %s: run %d of %d\n", e.Name, i+1, runs)
	}
	return r.write(b.out)
}

func (b *bench) once(ctx context.Context, e experiment.Experiment[measure], r *report) error {
	begin := time.Now()
	c, err := b.start(ctx)
	if err != nil {
		return err
	}
	defer c.Stop()
	r.duration("started: to ready", "", time.Since(begin))
	if err := b.serve(ctx); err != nil {
		return err
	}
	if err := e.Measure(ctx, b, c, r); err != nil {
		return err
	}
	return b.removeServices(ctx)
}

func (b *bench) start(ctx context.Context) (*allocation.Controller, error) {
	return b.startOn(ctx, lab.Control)
}

func (b *bench) startOn(ctx context.Context, host lab.Host) (*allocation.Controller, error) {
	c, err := b.world.Run(ctx, allocation.Start{Binary: b.binary, Kubeconfig: b.kubeconfig, Args: b.args, Host: host})
	if err != nil {
		return nil, err
	}
	return c, c.AwaitReady(ctx)
}

// serve returns when a Service has got its address: a controller that is ready need not be leading yet.
func (b *bench) serve(ctx context.Context) error {
	watch, err := allocation.NewStopwatch(ctx, b.world, namespace)
	if err != nil {
		return err
	}
	svc := service(0)
	svc.Name = "first"
	if err := watch.Create(ctx, svc); err != nil {
		return err
	}
	if _, err := watch.Stop(ctx); err != nil {
		return err
	}
	return b.world.Client.CoreV1().Services(namespace).Delete(ctx, svc.Name, metav1.DeleteOptions{})
}

// service is what is created by the thousand. It asks for no node ports, of which there are but 2,768.
func service(number int) *corev1.Service {
	without := false
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("s-%d", number), Labels: map[string]string{"app": "bench"}},
		Spec: corev1.ServiceSpec{
			Type:                          corev1.ServiceTypeLoadBalancer,
			Selector:                      map[string]string{"app": fmt.Sprintf("s-%d", number)},
			Ports:                         []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)}},
			AllocateLoadBalancerNodePorts: &without,
		},
	}
}

// create creates Services by several clients at a time, and returns how long each took.
func (b *bench) create(ctx context.Context, count int) (allocation.Record, error) {
	watch, err := allocation.NewStopwatch(ctx, b.world, namespace)
	if err != nil {
		return allocation.Record{}, err
	}
	err = allocation.InParallel(clients, count, func(i int) error { return watch.Create(ctx, service(i)) })
	if err != nil {
		return allocation.Record{}, err
	}
	return watch.Stop(ctx)
}

func (b *bench) removeServices(ctx context.Context) error {
	services := b.world.Client.CoreV1().Services(namespace)
	list, err := services.List(ctx, metav1.ListOptions{LabelSelector: "app=bench"})
	if err != nil {
		return err
	}
	return allocation.InParallel(clients, len(list.Items), func(i int) error {
		return services.Delete(ctx, list.Items[i].Name, metav1.DeleteOptions{})
	})
}
