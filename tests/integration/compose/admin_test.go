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

// The file that opens the admin ports has them ask for a secret, and the services
// take the settings as they stand there.
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
	require.Len(t, file.Services, 2)
	require.Contains(t, file.Secrets["admin-token"].File, "PWDIST_ADMIN_TOKEN_FILE:?", "it cannot be left out")
	require.Equal(t, []string{"${PWDIST_ADMIN_BIND:-127.0.0.1}:${PWDIST_ADMIN_PORT:-9090}:9090"}, file.Services["proxy"].Ports)
	require.Empty(t, file.Services["worker"].Ports, "there are several")
	here := filepath.Join(t.TempDir(), "admin-token")
	require.NoError(t, os.WriteFile(here, []byte("sesame"), 0o600))
	for service, port := range map[string]string{"proxy": ":9090", "worker": ":9091"} {
		s := file.Services[service]
		require.Equal(t, port, s.Environment["PWDIST_ADMIN__LISTEN"])
		require.Equal(t, []string{"admin-token"}, s.Secrets)
		require.Equal(t, "/run/secrets/admin-token", s.Environment["PWDIST_ADMIN__TOKEN_FILE"])
		s.Environment["PWDIST_ADMIN__TOKEN_FILE"] = here
		check := exec.Command(harness.Binary(t, "pwdist-"+service), "--check-config")
		for name, value := range s.Environment {
			check.Env = append(check.Env, name+"="+value)
		}
		said, err := check.CombinedOutput()
		require.NoError(t, err, "%s", said)
		require.Equal(t, "configuration ok\n", string(said), service)
	}
}
