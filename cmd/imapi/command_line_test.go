package main

import (
	"bytes"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	run := func(args ...string) (status int, out, diag string) {
		var o, d bytes.Buffer
		status = dispatch(t.Context(), args, &o, &d)
		return status, o.String(), d.String()
	}
	t.Run("refuses", func(t *testing.T) {
		for _, c := range []struct{ name, says string }{
			{"", "usage"},
			{"nothing", "unknown command"},
			{"serve --nothing", "-nothing"},
			{"serve extra", "extra"},
			{"serve --tls-cert x", "--tls-key"},
			{"serve --synchronous off", "--synchronous"},
			{"serve --log-format xml", "--log-format"},
			{"serve --log-level loud", "log-level"},
			{"serve --max-message-bytes 2999", "--max-message-bytes"},
			{"serve --event-retention 0", "--event-retention"},
			{"serve --client-id-retention 167h", "--client-id-retention"},
			{"serve --event-retention 169h", "--client-id-retention"},
			{"serve --rate fast", "-rate"},
			{"serve --rate -1/s", "-rate"},
			{"serve --rate NaN", "-rate"},
			{"serve --command-rate -1/s", "-command-rate"},
			{"serve --trusted-proxies proxy.example", "-trusted-proxies"},
			{"serve --trusted-proxies 10.0.0.0/40", "-trusted-proxies"},
			{"serve --auth-algorithm RS256", "--auth-public-key"},
			{"serve --auth-leeway 11m", "--auth-leeway"},
			{"serve --cors-origins app.example", "no scheme"},
			{"serve --cors-origins https://app.example,b.example", `"b.example" has no scheme`},
			{"serve --cors-origins localhost:3000", "no scheme"},
			{"serve --cors-origins https://app.example/", "slash"},
			{"serve --cors-origins https://app.example/path", "more than a scheme, a host and a port"},
			{"serve --cors-origins https://app.example?q", "more than a scheme, a host and a port"},
			{"serve --cors-origins https://me@app.example", "more than a scheme, a host and a port"},
			{"serve --cors-origins https://", "no valid host"},
			{"serve --cors-origins https://app.example:x", "no valid host"},
			{"serve --cors-origins https://app.example:443", "port"},
			{"serve --cors-origins http://app.example:80", "port"},
			{"serve --cors-origins https://bücher.example", "ASCII"},
			{"serve --cors-origins https://*.*.example", "*"},
			{"serve --auth-public-key x", "HS256"},
			{"serve --presend-url https://app.example/", "--presend-secret"},
			{"serve --presend-secret x", "--presend-url"},
			{"serve --presend-url http://8.8.8.8/ --presend-secret x", "https://"},
			{"serve --presend-url https://169.254.169.254/ --presend-secret x", "no receiver"},
			{"serve --presend-timeout 11s", "--presend-timeout"},
			{"serve --presend-fail maybe", "--presend-fail"},
			{"serve --presend-at-once 0", "--presend-at-once"},
			{"serve --presend-types text,command", "--presend-types"},
			{"serve --presend-types text,text", "--presend-types"},
			{"serve --presend-kinds space", "--presend-kinds"},
			{"token", "--user"},
			{"token --user ..", "--user"},
			{"token --user a --ttl 0", "--ttl"},
			{"token --user a --device é", "--device"},
		} {
			status, out, diag := run(strings.Fields(c.name)...)
			if status != 2 || out != "" || !strings.Contains(diag, c.says) {
				t.Errorf("%q: %d %q %q", c.name, status, out, diag)
			}
		}
	})
	t.Run("helps", func(t *testing.T) {
		for _, c := range everyCommand() {
			status, _, diag := run(c.name, "--help")
			if status != 0 || !strings.Contains(diag, "usage: imapi "+c.name) {
				t.Errorf("%s: %d %q", c.name, status, diag)
			}
		}
		if _, _, diag := run("serve", "--help"); !strings.Contains(diag, "IMAPI_LISTEN") {
			t.Errorf("the help lacks environment variables:\n%s", diag)
		}
		if status, out, _ := run("help"); status != 0 || !strings.Contains(out, "serve") {
			t.Errorf("help: %d %q", status, out)
		}
	})
	t.Run("version", func(t *testing.T) {
		for _, arg := range []string{"version", "--version", "-version"} {
			if status, out, diag := run(arg); status != 0 || out != "imapi "+version+"\n" || diag != "" {
				t.Errorf("%s: %d %q %q", arg, status, out, diag)
			}
		}
	})
	t.Run("an error is reported without the help", func(t *testing.T) {
		for _, args := range []string{
			"serve --nothing", "serve --max-members many", "serve --log-level loud", "serve extra", "token --nothing", "token",
			"import --nothing", "export --nothing", "retention --nothing", "version --nothing", "serve --cors-origins a.example",
		} {
			status, out, diag := run(strings.Fields(args)...)
			command, _, _ := strings.Cut(args, " ")
			if status != 2 || out != "" || strings.Count(diag, "\n") != 1 || !strings.HasPrefix(diag, "imapi "+command+": ") ||
				!strings.HasSuffix(diag, "(imapi "+command+" --help)\n") {
				t.Errorf("%s: %d %q %q", args, status, out, diag)
			}
		}
	})
	t.Run("help names the value of a flag", func(t *testing.T) {
		// The word appears in the usage for the value, so it must name the kind of value.
		kinds := []string{
			"address", "age", "algorithm", "audience", "cursor", "directory", "duration", "file", "format", "id", "issuer", "level", "list",
			"mode", "number", "origins", "path", "policy", "time", "token", "URL", "user",
		}
		for _, c := range everyCommand() {
			_, _, diag := run(c.name, "--help")
			for _, m := range regexp.MustCompile(`(?m)^  --(\S+) (\S*)$`).FindAllStringSubmatch(diag, -1) {
				isSwitch := m[2] == "" && slices.Contains([]string{"accept-lost-keys", "admin", "docs", "dry-run", "follow", "json"}, m[1])
				if !isSwitch && !slices.Contains(kinds, m[2]) {
					t.Errorf("%s --%s %s: not a kind of value", c.name, m[1], m[2])
				}
			}
		}
	})
	t.Run("token is alone on stdout", func(t *testing.T) {
		t.Setenv("IMAPI_DATA", dataDir(t))
		status, out, diag := run("token", "--user", "alice")
		if status != 0 || diag != "" || !regexp.MustCompile(`^[\w-]+\.[\w-]+\.[\w-]+\n$`).MatchString(out) {
			t.Errorf("%d %q %q", status, out, diag)
		}
	})
	t.Run("a flag wins over the environment", func(t *testing.T) {
		t.Setenv("IMAPI_DATA", filepath.Join(dir, "loses"))
		if status, _, diag := run("token", "--user", "alice", "--data", dataDir(t)); status != 0 {
			t.Error(diag)
		}
	})
	t.Run("a bad variable is named without its value", func(t *testing.T) {
		t.Setenv("IMAPI_TTL", "hunter2")
		status, _, diag := run("token", "--user", "alice", "--data", dir)
		if status != 2 || !strings.Contains(diag, "IMAPI_TTL") || strings.Contains(diag, "hunter2") {
			t.Errorf("%d %q", status, diag)
		}
	})
}

// everyCommand returns the commands of all groups.
func everyCommand() (all []command) {
	for _, g := range groups() {
		all = append(all, g.commands...)
	}
	return all
}
