import type { AgentCard, AgentInterface, SecurityRequirement, SecurityScheme } from '@a2a-js/sdk';
import { duplicateInterfacesForLegacy } from '@a2a-js/sdk/compat/v0_3';
import type { Agent } from '../../agent/agent.js';

/** Where the transports are, below the agent's own address. */
export const PATHS = { jsonRpc: '/a2a/jsonrpc', rest: '/a2a/rest' } as const;

/** What the agent says of itself: its name, its skills, how to reach it, and how to prove who one is. */
export function agentCardOf(agent: Agent, url: string): AgentCard {
  const { agent: about, security, server } = agent.config;
  const base = url.replace(/\/+$/, '');
  const at = (path: string, protocolBinding: string): AgentInterface => ({
    url: `${base}${path}`,
    protocolBinding,
    tenant: '',
    protocolVersion: '1.0',
  });
  const interfaces = [at(PATHS.jsonRpc, 'JSONRPC'), at(PATHS.rest, 'HTTP+JSON')];
  return {
    name: about.name,
    description: about.description ?? `${about.name}, an agent that remembers`,
    version: about.version ?? '0.0.0',
    supportedInterfaces: duplicateInterfacesForLegacy(interfaces, ['JSONRPC', 'HTTP+JSON']),
    provider: undefined,
    capabilities: {
      streaming: true,
      pushNotifications: server.push_hosts.length > 0,
      extensions: [],
      extendedAgentCard: false,
    },
    ...securityOf(security.auth),
    defaultInputModes: ['text/plain', 'application/json'],
    defaultOutputModes: ['text/plain', 'application/json'],
    skills: agent.skills.map(({ id, name, description, config }) => ({
      id,
      name,
      description: description ?? name,
      tags: [...new Set([...config.tags, ...config.keywords])],
      examples: [],
      inputModes: [],
      outputModes: [],
      securityRequirements: [],
    })),
    signatures: [],
  };
}

function securityOf(
  auth: Agent['config']['security']['auth'],
): Pick<AgentCard, 'securitySchemes' | 'securityRequirements'> {
  if (auth === 'none') return { securitySchemes: {}, securityRequirements: [] };
  const scheme: SecurityScheme =
    auth === 'api_key'
      ? {
          scheme: {
            $case: 'apiKeySecurityScheme',
            value: { description: 'An API key', location: 'header', name: 'X-API-Key' },
          },
        }
      : {
          scheme: {
            $case: 'httpAuthSecurityScheme',
            value: { description: 'A JSON Web Token', scheme: 'Bearer', bearerFormat: 'JWT' },
          },
        };
  const requirement: SecurityRequirement = { schemes: { [auth]: { list: [] } } };
  return { securitySchemes: { [auth]: scheme }, securityRequirements: [requirement] };
}
