package redisx

import "github.com/redis/rueidis"

// Client is the connection to a pool's Redis that [Connect] makes. Services
// hold it and hand it on; what it does is the business of the packages that
// speak to Redis.
type Client = rueidis.Client
