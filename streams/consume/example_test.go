package consume_test

import (
	"context"
	"fmt"
	"log"

	"github.com/playwright-distributed/playwright-distributed/streams/consume"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// Follow the log and print how every session ended.
func ExampleTail() { //nolint:testableexamples // it runs for ever
	client, err := consume.Connect("redis://localhost:6379")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	for e, err := range consume.Tail(context.Background(), client, "default", consume.End()) {
		if err != nil {
			log.Print(err) // a gap, or an entry that cannot be read
			continue
		}
		if e.Type == event.SessionEnded {
			fmt.Println(e.Session.ID, e.Session.Reason, e.Session.Active)
		}
	}
}

// Store the end of every session, shared among all processes that run this.
func ExampleGroup() { //nolint:testableexamples // it runs for ever
	client, err := consume.Connect("redis://localhost:6379")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	store := func(_ context.Context, e event.Event) error {
		if e.Type != event.SessionEnded {
			return nil
		}
		fmt.Println("insert", e.ID, e.Session.Reason, e.Session.Active) // with e.ID as the primary key
		return nil
	}
	sessions := consume.Group{Client: client, Pool: "default", Name: "sessions-table"}
	if err := sessions.Run(context.Background(), store); err != nil {
		log.Print(err)
	}
}
