// Package registry reads and writes the desired state of cameras and what is
// observed of them: the two compacted topics of schemas.Camera and
// schemas.Status.
package registry

import (
	"context"
	"log/slog"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/schemas"
)

// Partitions of the cameras topic: the most ingest processes that share them.
const Partitions = 32

// Client reads and writes the registry.
type Client struct{}

// Connect makes a Client. It does not wait for a broker.
func Connect(cfg kafka.Config, log *slog.Logger) (*Client, error) { return nil, nil }

// Close frees the client.
func (c *Client) Close() {}

// Ensure makes the two topics with their settings (compacted, retention -1).
func (c *Client) Ensure(ctx context.Context) error { return nil }

// Put writes a camera's desired state and waits for the acknowledgement.
func (c *Client) Put(ctx context.Context, cam schemas.Camera) error { return nil }

// Delete removes a camera (a tombstone); footage stays.
func (c *Client) Delete(ctx context.Context, id string) error { return nil }

// PutStatus writes a camera's status; it does not wait.
func (c *Client) PutStatus(s schemas.Status) {}

// DeleteStatus removes a camera's status; it does not wait.
func (c *Client) DeleteStatus(id string) {}

// Snapshot is the registry at one moment.
type Snapshot struct {
	Cameras map[string]schemas.Camera
	Status  map[string]schemas.Status
}

// Load reads both topics to their end as of the call.
func (c *Client) Load(ctx context.Context) (Snapshot, error) { return Snapshot{}, nil }

// Follow calls changed with the registry each time that something in it has
// changed, at most every 100 ms, first when both topics have been read to
// their end, until ctx ends. The maps are the callee's to keep.
func (c *Client) Follow(ctx context.Context, changed func(Snapshot)) error { return nil }
