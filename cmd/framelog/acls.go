package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/framelog/framelog/internal/app/acls"
	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/schemas"
)

// aclsCmd is "framelog acls".
type aclsCmd struct {
	settings
	Role       string   `help:"Whose rights: ingest, process, archive, egress, editor, monitor, admin or up." required:"" placeholder:"ROLE"`
	User       string   `help:"Who gets them, as Kafka names it: User:ingest; with client certificates User: and the subject." required:"" placeholder:"User:NAME"`
	Name       string   `help:"With --role process: the name of the processor." placeholder:"NAME"`
	Cameras    []string `help:"Only for the footage of these cameras, separated by commas. Default: all cameras." placeholder:"ID"`
	Renditions []string `help:"With --role process: what a program of your own writes, or what a backfill does. Default: those of the processor." placeholder:"NAME"`
	Input      string   `help:"With --role process: what a program of your own reads. Default: raw." placeholder:"NAME"`
	Output     string   `help:"What to print: commands of kafka-acls.sh, or of rpk." enum:"kafka,rpk" default:"kafka" short:"o" placeholder:"FORM"`
}

// Run prints the commands. It does not connect to a broker.
func (c *aclsCmd) Run(k *kong.Context) error {
	rights, err := c.rights()
	if err != nil {
		return err
	}
	return acls.Print(k.Stdout, c.Output, c.User, rights)
}

func (c *aclsCmd) rights() ([]acls.Right, error) {
	var names []string
	for _, r := range acls.Roles() {
		names = append(names, r.Name)
	}
	if !slices.Contains(names, c.Role) {
		return nil, &config.Error{Where: "--role", What: fmt.Sprintf("there is no role %q", c.Role), Remedy: "it is one of " + strings.Join(names, ", ")}
	}
	if principal, ok := strings.CutPrefix(c.User, "User:"); !ok || principal == "" {
		return nil, &config.Error{Where: "--user", What: fmt.Sprintf("%q names nobody", c.User), Remedy: "write it as User:NAME"}
	}
	for _, id := range c.Cameras {
		if schemas.ValidateCameraID(id) != nil {
			return nil, &config.Error{Where: "--cameras", What: fmt.Sprintf("%q is no id of a camera", id), Remedy: "see framelog cameras list"}
		}
	}
	scope := acls.Scope{Cameras: c.Cameras}
	var cfg *config.Config
	var err error
	switch c.Role {
	case "process":
		cfg, scope.Processors, err = c.oneProcessor()
	case "up":
		cfg, scope.Processors, err = c.allProcessors()
	default:
		cfg, err = c.load(nil)
	}
	if err != nil {
		return nil, err
	}
	scope.Names.Prefix = cfg.TopicPrefix
	return acls.Rights(c.Role, scope)
}

// oneProcessor returns the processor --name: of the configuration, of a kind, or a program of
// its own.
func (c *aclsCmd) oneProcessor() (*config.Config, []acls.Processor, error) {
	if schemas.ValidateRendition(c.Name) != nil {
		return nil, nil, &config.Error{Where: "--name", What: fmt.Sprintf("%q is no name of a processor", c.Name), Remedy: "name the one whose user gets the rights"}
	}
	own := acls.Processor{Name: c.Name, Input: c.Input, Outputs: c.Renditions, Events: true}
	l, _, err := oneProcessor(c.Config, c.Name, "")
	if err != nil { // a program of its own
		if len(own.Outputs) == 0 {
			own.Outputs = []string{c.Name}
		}
		cfg, err := c.load(nil)
		return cfg, []acls.Processor{own}, err
	}
	cfg, err := l.Load(c.Config, os.Environ(), c.flags(nil))
	if err != nil {
		return nil, nil, err
	}
	made, err := makeUnused(cfg)
	if err != nil {
		return nil, nil, err
	}
	of := aclsOf(&made[0])
	if len(c.Renditions) > 0 {
		of.Outputs = c.Renditions
	}
	return cfg, []acls.Processor{of}, nil
}

// allProcessors returns the processors of the configuration.
func (c *aclsCmd) allProcessors() (*config.Config, []acls.Processor, error) {
	cfg, err := c.load(nil)
	if err != nil {
		return nil, nil, err
	}
	made, err := makeUnused(cfg)
	if err != nil {
		return nil, nil, err
	}
	var all []acls.Processor
	for i := range made {
		all = append(all, aclsOf(&made[i]))
	}
	return cfg, all, nil
}

// aclsOf returns what the rights of a processor depend on.
func aclsOf(p *processors.Processor) acls.Processor {
	of := acls.Processor{Name: p.Name, Input: p.Input, Outputs: outputs(p)}
	of.Events = len(p.Outputs) == 0 || slices.ContainsFunc(p.Outputs, func(r processors.Rendition) bool { return r.Role == schemas.RoleData })
	return of
}
