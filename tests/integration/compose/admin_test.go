package compose_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// The file that opens the proxy's admin port has it ask for a secret, and the
// proxy takes the settings as they stand there.
func TestTheAdminFileIsNotWithoutASecret(t *testing.T) {
	var file struct {
		Services map[string]struct {
			Environment map[string]string
			Ports       []string
			Secrets     []string
		}
		Secrets map[string]struct{ File string }
	}
	require.NoError(t, yaml.Unmarshal(read(t, "deploy/compose/admin.yaml"), &file))
	require.Len(t, file.Services, 1)
	proxy := file.Services["proxy"]
	require.Equal(t, []string{"${PWDIST_ADMIN_BIND:-127.0.0.1}:${PWDIST_ADMIN_PORT:-9090}:9090"}, proxy.Ports)
	require.Equal(t, []string{"admin-token"}, proxy.Secrets)
	require.Contains(t, file.Secrets["admin-token"].File, "PWDIST_ADMIN_TOKEN_FILE:?", "it cannot be left out")

	secret := proxy.Environment["PWDIST_ADMIN__TOKEN_FILE"]
	require.Equal(t, "/run/secrets/admin-token", secret)
	here := filepath.Join(t.TempDir(), "admin-token")
	require.NoError(t, os.WriteFile(here, []byte("sesame"), 0o600))
	proxy.Environment["PWDIST_ADMIN__TOKEN_FILE"] = here
	check := exec.Command(harness.Binary(t, "pwdist-proxy"), "--check-config")
	for name, value := range proxy.Environment {
		check.Env = append(check.Env, name+"="+value)
	}
	said, err := check.CombinedOutput()
	require.NoError(t, err, "%s", said)
	require.Equal(t, "configuration ok\n", string(said))
}
