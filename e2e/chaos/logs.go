package chaos

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/herald"
)

// wrongInLogs looks for secrets, and for crashes, in all that pods of Herald have logged, those that ended too: light nodes
// keep it.
func (s *stage) wrongInLogs(ctx context.Context) (complaints []string, err error) {
	memberlist, err := s.client.CoreV1().Secrets(herald.Namespace).Get(ctx, "memberlist", metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	webhook, err := s.client.CoreV1().Secrets(herald.Namespace).Get(ctx, "metallb-webhook-cert", metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	private, err := privateKeys(webhook.Data)
	if err != nil {
		return nil, err
	}
	for what, texts := range map[string][]string{
		"the password of a BGP session": spellings(routerPassword),
		"the key of memberlist":         spellings(string(memberlist.Data["secretkey"])),
		"a private key":                 private,
		"a token":                       {"eyJhbGciOi"}, // {"alg": in base64, with which all of service accounts begin
		"a crash":                       {"panic: ", "fatal error: "},
	} {
		found, err := s.grepLogs(ctx, texts)
		if err != nil {
			return nil, err
		}
		if found != "" {
			complaints = append(complaints, fmt.Sprintf("%s is in %s", what, found))
		}
	}
	return complaints, nil
}

// privateKeys are how the private keys of a Secret may be written down. The words are in each that is written as PEM.
func privateKeys(data map[string][]byte) (texts []string, err error) {
	for _, text := range data {
		key, _ := pem.Decode(text)
		if key == nil || !strings.HasSuffix(key.Type, privateKey) {
			continue
		}
		// As they are they have line feeds, which separate what grep looks for.
		texts = slices.Concat(texts, spellings(string(text))[1:], spellings(string(key.Bytes))[1:])
	}
	if texts == nil {
		return nil, errors.New("look for the webhook's private key: its Secret has none")
	}
	return append(texts, privateKey), nil
}

const privateKey = "PRIVATE KEY"

// spellings are how a secret may be written down.
func spellings(secret string) []string {
	return []string{secret, strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(secret)), "="), hex.EncodeToString([]byte(secret))}
}

// grepLogs lists the log files with any of these texts.
func (s *stage) grepLogs(ctx context.Context, texts []string) (found string, err error) {
	grep := "grep --fixed-strings --files-with-matches"
	for _, text := range texts {
		grep += fmt.Sprintf(" --regexp='%s'", text)
	}
	for _, node := range s.lab.NodeNames() {
		files, err := s.lab.In(ctx, node, "sh", "-c", grep+" /var/log/"+herald.Namespace+"_*.log || [ $? = 1 ]")
		if err != nil {
			return "", err
		}
		for file := range strings.FieldsSeq(files) {
			found += fmt.Sprintf(" %s of %s", file, node)
		}
	}
	return strings.TrimSpace(found), nil
}
