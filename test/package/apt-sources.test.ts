import { expect, test } from 'vitest';
import { deriveAptSources } from '../../scripts/lib/apt-sources.mjs';
import { parseOsRelease } from '../../scripts/lib/os-release.mjs';

const BOOKWORM = { suites: ['bookworm', 'oldstable'], backports: true };
const TRIXIE = { suites: ['trixie', 'stable'], backports: false };

function derive(name: string, text: string, release = BOOKWORM): string | undefined {
  return deriveAptSources([{ name, text }], release)[0]?.text;
}

test('a deb822 stanza gets the backports suite and keeps its mirror, options and key', () => {
  const text = `# comment
Types: deb deb-src
URIs: http://apt.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/key.gpg

Types: deb
URIs: http://apt.example/security
Suites: bookworm-security
Components: main
`;
  expect(derive('debian.sources', text)).toBe(`Types: deb deb-src
URIs: http://apt.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/key.gpg

Types: deb
URIs: http://apt.example/security
Suites: bookworm-security
Components: main
`);
});

test('a deb822 stanza with continued lines and a key written into it stays whole', () => {
  const text = `Types: deb
Architectures: amd64
URIs: http://apt.example/debian
Suites:
 bookworm
 bookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abcdef
 -----END PGP PUBLIC KEY BLOCK-----`;
  expect(derive('debian.sources', text)).toBe(
    `${text.replace('\n bookworm\n bookworm-updates', ' bookworm bookworm-updates bookworm-backports')}\n`,
  );
});

test('one-line entries get a line for the backports suite with the same options', () => {
  const text = `# deb http://old.example/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/key.gpg] http://apt.example/debian bookworm main contrib # main
deb-src http://apt.example/debian bookworm main
deb http://apt.example/debian bookworm-updates main
`;
  expect(derive('sources.list', text)).toBe(
    `deb [arch=amd64 signed-by=/usr/share/keyrings/key.gpg] http://apt.example/debian bookworm main contrib
deb [arch=amd64 signed-by=/usr/share/keyrings/key.gpg] http://apt.example/debian bookworm-backports main contrib
deb http://apt.example/debian bookworm-updates main
`,
  );
});

test('a machine that has backports already is left with one of each', () => {
  const line = 'deb http://apt.example/debian bookworm main\ndeb http://apt.example/debian bookworm-backports main\n';
  expect(derive('sources.list', line)).toBe(line);
  const stanza = 'Types: deb\nURIs: http://apt.example/debian\nSuites: bookworm bookworm-backports\nComponents: main\n';
  expect(derive('debian.sources', stanza)).toBe(stanza);
});

test('a release named by its class gets the backports of that name', () => {
  expect(derive('sources.list', 'deb http://apt.example/debian oldstable main\n')).toBe(
    'deb http://apt.example/debian oldstable main\ndeb http://apt.example/debian oldstable-backports main\n',
  );
});

test('other sources of the machine are not asked, unless there are no others', () => {
  const other = { name: 'vendor.list', text: 'deb http://vendor.example/apt nodistro main\n' };
  const disabled = {
    name: 'off.sources',
    text: 'Enabled: no\nTypes: deb\nURIs: http://apt.example/x\nSuites: trixie\nComponents: main\n',
  };
  const own = { name: 'sources.list', text: 'deb http://apt.example/debian trixie main\n' };
  expect(deriveAptSources([other, disabled, own], TRIXIE)).toEqual([own]);
  expect(deriveAptSources([other], TRIXIE)).toEqual([other]);
});

test('os-release is read with and without quotes', () => {
  expect(parseOsRelease('ID=debian\nVERSION_ID="12"\nNAME=\'Debian GNU/Linux\'\nVARIANT=\n')).toEqual({
    ID: 'debian',
    VERSION_ID: '12',
    NAME: 'Debian GNU/Linux',
    VARIANT: '',
  });
});
