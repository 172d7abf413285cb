// Trusted types: the only sink we use ourselves is the service worker's address. Vue has a policy of its own named `vue`.
interface Policy {
  createScriptURL(url: string): string;
}
interface PolicyFactory {
  createPolicy(name: string, rules: { createScriptURL(url: string): string }): Policy;
}

const rules = {
  createScriptURL(url: string): string {
    if (url !== "/sw.js") throw new TypeError("not a script of ours");
    return url;
  },
};

const factory = (globalThis as { trustedTypes?: PolicyFactory }).trustedTypes;
const policy: Policy = factory ? factory.createPolicy("anlu", rules) : rules;

/** The worker's address as the browser wants it under `require-trusted-types-for 'script'`. */
export const workerUrl = (): string => policy.createScriptURL("/sw.js");
