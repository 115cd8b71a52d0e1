// Package main says with amqp091-go and paho.golang what their users expect to see of a broker.
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"reflect"
	"time"
)

const caseDeadline = 60 * time.Second

// interopCase fails by returning an error.
type interopCase struct {
	name string
	run  func(ctx context.Context) error
}

func environment(name, otherwise string) string {
	if value, found := os.LookupEnv("INTEROP_" + name); found {
		return value
	}
	return otherwise
}

// address of the broker; password is an argument so that a wrong one can be tried.
func address(password string) string {
	return fmt.Sprintf("amqp://%s:%s@%s:%s/", environment("USER", "guest"), password,
		environment("HOST", "localhost"), environment("AMQP_PORT", "5672"))
}

func password() string { return environment("PASSWORD", "guest") }

// unique is a name no other run uses.
func unique(prefix string) string {
	random := make([]byte, 5)
	_, _ = rand.Read(random)
	return prefix + "-" + hex.EncodeToString(random)
}

func equal(seen, expected any, what string) error {
	if reflect.DeepEqual(seen, expected) {
		return nil
	}
	return fmt.Errorf("%s: expected %#v, saw %#v", what, expected, seen)
}

// first of the errors that is one.
func first(errors ...error) error {
	for _, err := range errors {
		if err != nil {
			return err
		}
	}
	return nil
}

// runCases says PASS or FAIL for each and returns the exit code.
func runCases(suite string, cases []interopCase) int {
	failed := 0
	for _, item := range cases {
		started := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), caseDeadline)
		done := make(chan error, 1)
		go func() {
			defer func() {
				if problem := recover(); problem != nil {
					done <- fmt.Errorf("panic: %v", problem)
				}
			}()
			done <- item.run(ctx)
		}()
		var err error
		select {
		case err = <-done:
		case <-ctx.Done():
			err = fmt.Errorf("not finished after %s", caseDeadline)
		}
		cancel()
		if err != nil {
			failed = 1
			fmt.Printf("FAIL %s %s: %v\n", suite, item.name, err)
			continue
		}
		fmt.Printf("PASS %s %s (%.2f s)\n", suite, item.name, time.Since(started).Seconds())
	}
	fmt.Printf("END %s\n", suite)
	return failed
}
