// The reference: Scalar renders the server's own document, and sends requests to this server
// alone. Everything that would reach another host is off.
const reference = document.getElementById('reference');

/** Returns a token for the requests, if the server signs this visitor in. */
async function token() {
  if (reference.dataset.signIn !== 'on') return '';
  const answer = await fetch('/demo/sign-in', {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ user: 'Ada' }),
  });
  return answer.ok ? (await answer.json()).token : '';
}

Scalar.createApiReference(reference, {
  url: '/openapi.yaml',
  servers: [{ url: location.origin, description: 'this server' }],
  authentication: { preferredSecurityScheme: 'token', securitySchemes: { token: { token: await token() } } },
  // A token stays in this page.
  persistAuth: false,
  hideClientButton: true,
  // Events are received: there is no request to try.
  customCss: 'section[id*="/webhook/"] .show-api-client-button { display: none }',
  showDeveloperTools: 'never',
  documentDownloadType: 'none',
  withDefaultFonts: false,
  telemetry: false,
  agent: { disabled: true },
  mcp: { disabled: true },
});
