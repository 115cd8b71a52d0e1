package main

import (
	"fmt"
	"os"
)

func main() {
	suites := map[string][]interopCase{"amqp091-go": amqp091Cases, "paho.golang": pahoCases}
	if len(os.Args) != 2 || suites[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: go-client amqp091-go|paho.golang")
		os.Exit(2)
	}
	os.Exit(runCases(os.Args[1], suites[os.Args[1]]))
}
