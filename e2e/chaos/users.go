package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	users = 3
	// each has so many Services.
	belongings = 6
	// and does something this often, on average.
	pace = 600 * time.Millisecond
	// patience bounds one request of a user's.
	patience = 5 * time.Second
)

const crowdPrefix = "crowd-"

// user creates, changes and deletes Services of its own.
type user struct {
	*stage
	number int
	chance *rand.Rand
}

// startUsers has them act until the context ends.
func (s *stage) startUsers(ctx context.Context, seed uint64) {
	for n := range users {
		go user{s, n, rand.New(rand.NewPCG(seed, uint64(n+1)))}.act(ctx)
	}
	go s.administer(ctx, rand.New(rand.NewPCG(seed, users+1)))
}

func (u user) act(ctx context.Context) {
	for ; ctx.Err() == nil; pause(ctx, time.Duration(u.chance.Int64N(2*int64(pace)))) {
		name := fmt.Sprintf("%s%d-%d", crowdPrefix, u.number, u.chance.IntN(belongings))
		u.acting.RLock()
		request, cancel := context.WithTimeout(ctx, patience)
		what, err := u.once(request, name)
		cancel()
		u.note(fmt.Sprintf("user %d %s Service %s", u.number, what, name), err)
		u.acting.RUnlock()
	}
}

// note writes an action into the journal. That the API server is away, or was quicker, is life; that it finds a request
// wrong is a mistake of the play's.
func (s *stage) note(what string, err error) {
	switch {
	case err == nil:
		s.journal.note("%s", what)
	case apierrors.IsInvalid(err) || apierrors.IsBadRequest(err):
		s.journal.say("%s: %v", what, err)
	default:
		s.journal.note("%s, in vain: %v", what, brief(err))
	}
}

func brief(err error) error {
	var network net.Error
	if errors.As(err, &network) {
		return errors.New("no answer")
	}
	return err
}

func (u user) once(ctx context.Context, name string) (what string, err error) {
	services := u.client.CoreV1().Services("default")
	now, err := services.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		svc := newService(name, newcomer(u.chance)...)
		fitType(svc)
		_, err = services.Create(ctx, svc, metav1.CreateOptions{})
		return "creates", err
	}
	if err != nil {
		return "looks at", err
	}
	if u.chance.IntN(5) == 0 {
		return "deletes", services.Delete(ctx, name, metav1.DeleteOptions{})
	}
	change(u.chance)(now)
	fitType(now)
	_, err = services.Update(ctx, now, metav1.UpdateOptions{})
	return "changes", err
}

// fickleRanges are what the pool fickle may consist of. All have room for everybody.
var fickleRanges = []string{
	`["192.168.12.0/26", "fd00:12::/122"]`,
	`["192.168.12.16-192.168.12.63", "fd00:12::10-fd00:12::3f"]`,
	`["192.168.12.64/26", "fd00:12::/122"]`,
}

// administer changes that pool every ten seconds or so.
func (s *stage) administer(ctx context.Context, chance *rand.Rand) {
	for ; ctx.Err() == nil; pause(ctx, time.Duration(chance.Int64N(int64(20*time.Second)))) {
		ranges := fickleRanges[chance.IntN(len(fickleRanges))]
		s.acting.RLock()
		request, cancel := context.WithTimeout(ctx, patience)
		err := s.patch(request, "ipaddresspools", "fickle", `{"spec": {"addresses": `+ranges+`}}`)
		cancel()
		s.note("administrator gives pool fickle "+ranges, err)
		s.acting.RUnlock()
	}
}

func (s *stage) patch(ctx context.Context, resource, name, patch string) error {
	_, err := s.kinds(resource).Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

// removeCrowd leaves the Services that nobody changes.
func (s *stage) removeCrowd(ctx context.Context) error {
	services := s.client.CoreV1().Services("default")
	list, err := services.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, svc := range list.Items {
		if !strings.HasPrefix(svc.Name, crowdPrefix) {
			continue
		}
		if err := services.Delete(ctx, svc.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete Service %s: %w", svc.Name, err)
		}
	}
	return nil
}
