package main

import (
	"io"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/outgoing"
)

// config is the configuration of serve.
type config struct {
	listen, metricsListen string
	tlsCert, tlsKey       string
	data, database, keys  string
	blobs                 string
	acceptLostKeys        bool
	synchronous           string
	readLimit             time.Duration
	logFormat             string
	logLevel              slog.Level
	originList            string // --cors-origins, which complete parses into origins
	origins               []string
	rate, commandRate     rate
	trustedProxies        prefixes

	algorithm, publicKey, jwksURL, issuer, audience string
	leeway, ticketTTL, maxTokenAge                  time.Duration

	presend presendFlags

	policy                   im.Policy
	revokeByKind, burnPolicy string

	docs              bool
	retentionInterval time.Duration
	privateWebhooks   bool
	maxStreams        int
	maxStreamsPerUser int
	dataStreams       dataStreamConfig
	demo              bool
}

func parseConfig(args []string, diag io.Writer) (config, error) {
	var c config
	f := newFlags("serve", "Run the server. It needs no flags: its first start creates the data directory and\nin it a secret for tokens.", diag)
	c.add(f)
	if err := f.parse(args); err != nil {
		return c, err
	}
	err := c.complete()
	return c, err
}

// add adds the flags of the server.
func (c *config) add(f flags) {
	c.policy = im.DefaultPolicy()
	f.StringVar(&c.listen, "listen", "127.0.0.1:8080", "the `address` to listen on; port 0 picks a free port")
	f.StringVar(&c.metricsListen, "metrics-listen", "", "an `address` to serve /metrics on, instead of the main one")
	f.StringVar(&c.tlsCert, "tls-cert", "", "PEM `file` of the certificate chain; needs --tls-key")
	f.StringVar(&c.tlsKey, "tls-key", "", "PEM `file` of the certificate's private key")
	f.StringVar(&c.data, "data", "./data", "the `directory` of all data of the server")
	f.StringVar(&c.database, "database", "", "the `URL` of the database; SQLite in the data directory by default")
	f.StringVar(&c.keys, "keys", "", "the `file` of the keys that content is sealed under; keys beside the database by default")
	f.StringVar(&c.blobs, "blobs", "", "the `directory` of the sealed files of attachments; by default blobs in the data directory")
	f.BoolVar(&c.acceptLostKeys, "accept-lost-keys", false, acceptLostKeys)
	f.StringVar(&c.synchronous, "synchronous", "full", "the `mode` of durability: full (answered writes survive a power cut) or normal (only a crash of the process)")
	f.DurationVar(&c.readLimit, "read-limit", 500*time.Millisecond, "the `duration` after which a read of the database is aborted with 503")
	f.StringVar(&c.logFormat, "log-format", "text", "the `format` of the log: text or json")
	f.TextVar(&c.logLevel, "log-level", slog.LevelInfo, "the lowest `level` that is logged: debug (every request), info, warn, error")
	f.StringVar(&c.originList, "cors-origins", "", "comma-separated web `origins` that browsers may call from, such as https://app.example; * for any")
	c.rate = 100
	f.TextVar(&c.rate, "rate", c.rate, "the maximum `number` of requests per second from one user, such as 100/s, and of failed authentications from one address; bursts may be twice that; 0 sets no limit")
	c.commandRate = 20
	f.TextVar(&c.commandRate, "command-rate", c.commandRate, "the maximum `number` of commands per second from one user, such as 20/s; bursts may be twice that; 0 sets no separate limit; commands also count against --rate")
	f.TextVar(&c.trustedProxies, "trusted-proxies", c.trustedProxies, "a comma-separated `list` of addresses or CIDR ranges of proxies whose X-Forwarded-For is trusted")
	f.StringVar(&c.algorithm, "auth-algorithm", auth.HS256, "the `algorithm` of tokens: HS256, RS256, ES256 or EdDSA")
	f.StringVar(&c.publicKey, "auth-public-key", "", "PEM `file` of the key that verifies tokens; for all but HS256")
	f.StringVar(&c.jwksURL, "auth-jwks-url", "", "the `URL` of a JWK set with the keys that verify tokens, instead of a file")
	f.StringVar(&c.issuer, "auth-issuer", "", "the `issuer` (iss) that tokens must have")
	f.StringVar(&c.audience, "auth-audience", "", "the `audience` (aud) that tokens must have")
	f.DurationVar(&c.leeway, "auth-leeway", 0, "the `duration` by which the clock of the tokens' issuer may differ")
	f.DurationVar(&c.maxTokenAge, "max-token-age", 0, "the longest lifetime of a token, a `duration` counted from its iat, which is then required; 0 sets no limit. A cut-off of tokens is forgotten once every token that it could affect has expired")
	f.DurationVar(&c.ticketTTL, "ticket-ttl", time.Hour, "the `duration` for which a stream ticket is valid")
	f.DurationVar(&c.policy.LogRetention, "event-retention", c.policy.LogRetention, "the `duration` for which events stay in the log, for clients that were offline")
	f.DurationVar(&c.policy.ClientIDRetention, "client-id-retention", c.policy.ClientIDRetention, "the `duration` for which the ids of trimmed and purged messages, and the client_ids of deleted conversations, are remembered, so that no retry and no repeated import restores them; at least --event-retention")
	f.retention(&c.policy)
	f.clockGuard(&c.policy)
	f.DurationVar(&c.retentionInterval, "retention-interval", 10*time.Minute, "the `duration` between two runs of trimming messages past retention; nobody can read them, even before a run removes them")
	f.IntVar(&c.policy.MaxMessageBytes, "max-message-bytes", c.policy.MaxMessageBytes, "the maximum `number` of bytes of a message's body and ext together")
	f.Int64Var(&c.policy.MaxAttachmentBytes, "max-attachment-bytes", c.policy.MaxAttachmentBytes, "the maximum `number` of bytes of an attachment")
	f.Int64Var(&c.policy.AttachmentQuota, "attachment-quota", c.policy.AttachmentQuota, "the maximum `number` of bytes of all attachments of a user; each file counts its size and 4,096; 0 sets no limit")
	f.IntVar(&c.policy.MaxMembers, "max-members", c.policy.MaxMembers, "the maximum `number` of members of a group")
	f.IntVar(&c.policy.MaxRoomMembers, "max-room-members", c.policy.MaxRoomMembers, "the maximum `number` of members of a room")
	f.IntVar(&c.policy.MaxSpaceMembers, "max-space-members", c.policy.MaxSpaceMembers, "the maximum `number` of members of a space")
	f.IntVar(&c.policy.MaxChannels, "max-channels", c.policy.MaxChannels, "the maximum `number` of channels of a space")
	f.IntVar(&c.policy.MaxRoles, "max-roles", c.policy.MaxRoles, "the maximum `number` of roles of a space, everyone's included")
	f.IntVar(&c.policy.MaxChannelRoles, "max-channel-roles", c.policy.MaxChannelRoles, "the maximum `number` of roles with overrides in one channel")
	f.DurationVar(&c.policy.RevokeWindow, "revoke-window", c.policy.RevokeWindow, "the `duration` in which senders may revoke their own messages, if the conversation does not set it; 0 sets no limit")
	f.DurationVar(&c.policy.RevokeOthersWindow, "revoke-others-window", c.policy.RevokeOthersWindow, "the `duration` in which users with the permission may revoke messages of others, if the conversation does not set it; 0 sets no limit")
	f.StringVar(&c.revokeByKind, "revoke-window-by-kind", "", "--revoke-window by kind of conversation, a `list` such as direct=120s,group=10m")
	f.StringVar(&c.burnPolicy, "burn-policy", "flagged", "the `policy` by which a recipient may burn direct messages: flagged (those sent for burning) or any")
	f.IntVar(&c.policy.MaxReceiptMembers, "max-receipt-members", c.policy.MaxReceiptMembers, "the maximum `number` of members of a group in which messages may be sent with receipt")
	f.IntVar(&c.maxStreams, "max-streams", 20000, "the maximum `number` of event streams in all; 0 sets no limit")
	f.IntVar(&c.maxStreamsPerUser, "max-streams-per-user", 32, "the maximum `number` of event streams of a user")
	f.dataStreams(&c.dataStreams)
	f.presend(&c.presend)
	f.BoolVar(&c.docs, "docs", true, "serve the API reference at /docs; on by default, --docs=false turns it off")
	f.BoolVar(&c.privateWebhooks, "webhooks-allow-private", false, "allow webhooks at private addresses, also with http://")
	f.BoolVar(&c.demo, "demo", true, "serve the demo at /; on a development server it signs its own visitors in")
}

// complete checks the flags and sets the fields that are derived from them.
func (c *config) complete() error {
	if err := c.check(); err != nil {
		return err
	}
	var err error
	if c.origins, err = parseOrigins(c.originList); err != nil {
		return err
	}
	if c.maxTokenAge > 0 {
		// A cut-off applies to tokens issued up to the leeway after it, and a token is
		// accepted for the leeway beyond its maximum age.
		c.policy.CutRetention = c.maxTokenAge + 2*c.leeway
	}
	c.policy.BurnAny = c.burnPolicy == "any"
	c.policy.CheckWebhookURL = func(url string) error { return outgoing.CheckURL(url, c.privateWebhooks) }
	c.policy.RevokeWindowByKind, err = parseWindows(c.revokeByKind)
	return err
}

// parseOrigins parses a list of web origins. It refuses an origin that no browser sends,
// which would never match.
func parseOrigins(list string) ([]string, error) {
	var origins []string
	for origin := range strings.SplitSeq(list, ",") {
		if origin = strings.TrimSpace(origin); origin == "" {
			continue
		}
		if why := originFault(origin); why != "" {
			return nil, misuse("--cors-origins: %q %s: an origin is a scheme, a host, and a port other than the scheme's default, such as https://app.example", origin, why)
		}
		origins = append(origins, origin)
	}
	return origins, nil
}

// originFault returns why no browser sends an origin, or "".
func originFault(origin string) string {
	if origin == "*" || origin == "null" { // null is a page without an origin, such as a local file
		return ""
	}
	u, err := url.Parse(origin)
	switch {
	case !strings.Contains(origin, "://"):
		return "has no scheme"
	case err != nil || u.Hostname() == "":
		return "has no valid host"
	case strings.HasSuffix(origin, "/"):
		return "ends in a slash"
	case u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.User != nil:
		return "has more than a scheme, a host and a port"
	case u.Scheme == "http" && u.Port() == "80", u.Scheme == "https" && u.Port() == "443", strings.HasSuffix(u.Host, ":"):
		return "has a port that browsers leave out"
	case strings.Count(origin, "*") > 1:
		return "has more than one *"
	case strings.ContainsFunc(origin, func(c rune) bool { return c > unicode.MaxASCII }):
		return "must be in ASCII (xn--…), as browsers send it"
	}
	return ""
}

// parseWindows parses a list such as direct=120s,group=10m.
func parseWindows(list string) (map[im.Kind]time.Duration, error) {
	windows := make(map[im.Kind]time.Duration)
	for entry := range strings.SplitSeq(list, ",") {
		if list == "" {
			break
		}
		name, text, _ := strings.Cut(strings.TrimSpace(entry), "=")
		kind, known := im.ParseKind(name)
		window, err := time.ParseDuration(text)
		if _, twice := windows[kind]; !known || kind == im.Space || err != nil || window < 0 || twice {
			return nil, misuse("--revoke-window-by-kind: must be a list such as direct=120s,group=10m")
		}
		windows[kind] = window
	}
	return windows, nil
}

// maxMessageBytes keeps a message well below the limit of a request body.
const maxMessageBytes = 256 << 10

// maxAttachmentBytes is the largest attachment that can be allowed: 1 TiB.
const maxAttachmentBytes = 1 << 40

// maxChannels bounds the channels that the replay of a member checks, and maxRoles the
// roles in each check of permissions.
const (
	maxChannels = 1000
	maxRoles    = 1000
)

func (c config) check() error {
	switch {
	case c.leeway < 0 || c.leeway > auth.MaxLeeway:
		return misuse("--auth-leeway: must be 0 to %v", auth.MaxLeeway)
	case (c.tlsCert == "") != (c.tlsKey == ""):
		return misuse("--tls-cert and --tls-key go together")
	case c.readLimit <= 0 || c.readLimit > time.Minute:
		return misuse("--read-limit: must be more than 0 and at most 1m")
	case c.synchronous != "full" && c.synchronous != "normal":
		return misuse("--synchronous: must be full or normal")
	case c.logFormat != "text" && c.logFormat != "json":
		return misuse("--log-format: must be text or json")
	case c.policy.LogRetention <= 0:
		return misuse("--event-retention: must be more than 0")
	case c.policy.ClientIDRetention < c.policy.LogRetention:
		return misuse("--client-id-retention: must not be shorter than --event-retention, which is %s", c.policy.LogRetention)
	case c.retentionInterval <= 0:
		return misuse("--retention-interval: must be more than 0")
	case c.policy.MaxMessageBytes < im.MinMessageBytes || c.policy.MaxMessageBytes > maxMessageBytes:
		return misuse("--max-message-bytes: must be %d to %d", im.MinMessageBytes, maxMessageBytes)
	case c.policy.MaxAttachmentBytes < 1 || c.policy.MaxAttachmentBytes > maxAttachmentBytes:
		return misuse("--max-attachment-bytes: must be 1 to %d", int64(maxAttachmentBytes))
	case c.policy.AttachmentQuota < 0:
		return misuse("--attachment-quota: must not be negative")
	case c.policy.RevokeWindow < 0 || c.policy.RevokeOthersWindow < 0:
		return misuse("--revoke-window, --revoke-others-window: must not be negative")
	case c.burnPolicy != "flagged" && c.burnPolicy != "any":
		return misuse("--burn-policy: must be flagged or any")
	case c.policy.MaxReceiptMembers < 0:
		return misuse("--max-receipt-members: must not be negative")
	case c.policy.MaxMembers < 2 || c.policy.MaxRoomMembers < 2 || c.policy.MaxSpaceMembers < 2:
		return misuse("--max-members, --max-room-members, --max-space-members: must be at least 2")
	case c.policy.MaxChannels < 1 || c.policy.MaxChannels > maxChannels:
		return misuse("--max-channels: must be 1 to %d", maxChannels)
	case c.policy.MaxRoles < 1 || c.policy.MaxRoles > maxRoles || c.policy.MaxChannelRoles < 1 || c.policy.MaxChannelRoles > maxRoles:
		return misuse("--max-roles, --max-channel-roles: must be 1 to %d", maxRoles)
	case c.maxStreams < 0:
		return misuse("--max-streams: must not be negative")
	case c.maxStreamsPerUser < 1:
		return misuse("--max-streams-per-user: must be at least 1")
	case c.dataStreams.fault() != nil:
		return c.dataStreams.fault()
	case c.maxTokenAge < 0:
		return misuse("--max-token-age: must not be negative")
	case c.ticketTTL < time.Second:
		return misuse("--ticket-ttl: must be at least 1s")
	case !slices.Contains([]string{auth.HS256, auth.RS256, auth.ES256, auth.EdDSA}, c.algorithm):
		return misuse("--auth-algorithm: must be HS256, RS256, ES256 or EdDSA")
	case c.algorithm == auth.HS256 && (c.publicKey != "" || c.jwksURL != ""):
		return misuse("--auth-algorithm: HS256 is verified with the secret in the data directory, not with a public key")
	case c.algorithm != auth.HS256 && (c.publicKey == "") == (c.jwksURL == ""):
		return misuse("--auth-algorithm %s requires one of --auth-public-key and --auth-jwks-url", c.algorithm)
	}
	if err := c.presend.check(); err != nil {
		return err
	}
	return checkRetention(c.policy)
}

func (c config) logger(w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: c.logLevel}
	if c.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
