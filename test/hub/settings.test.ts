// The environment of the Hub's Python client means the same here.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { hubSettings } from "../../src/hub/settings.ts";
import { scratch } from "../helpers/scratch.ts";

const NOBODY = { HOME: "/home/nobody-at-all" };

test("without any, it is the Hub itself, and nobody's token", () => {
  expect(hubSettings(NOBODY)).toMatchObject({
    endpoint: "https://huggingface.co",
    token: null,
    cache: "/home/nobody-at-all/.cache/huggingface/hub",
    offline: null,
    timeoutMs: 10_000,
    usesXet: true,
    proxies: { http: null, https: null, no: "" },
  });
});

test.each([
  [{ HF_ENDPOINT: "https://hub.acme.test/" }, { endpoint: "https://hub.acme.test" }],
  [{ HF_ENDPOINT: "" }, { endpoint: "https://huggingface.co" }],
  [{ XDG_CACHE_HOME: "/c" }, { cache: "/c/huggingface/hub" }],
  [{ HF_HOME: "~/hf", XDG_CACHE_HOME: "/c" }, { cache: "/home/nobody-at-all/hf/hub" }],
  [{ HF_HOME: "$DATA/hf", DATA: "/data" }, { cache: "/data/hf/hub" }],
  [{ HUGGINGFACE_HUB_CACHE: "/old", HF_HOME: "/hf" }, { cache: "/old" }],
  // biome-ignore lint/suspicious/noTemplateCurlyInString: a variable of the environment's own
  [{ HF_HUB_CACHE: "${DATA}/new", DATA: "/d", HUGGINGFACE_HUB_CACHE: "/old" }, { cache: "/d/new" }],
  [{ HF_HUB_OFFLINE: "1" }, { offline: "HF_HUB_OFFLINE" }],
  [{ HF_HUB_OFFLINE: "yes" }, { offline: "HF_HUB_OFFLINE" }],
  [{ HF_HUB_OFFLINE: "0", TRANSFORMERS_OFFLINE: "true" }, { offline: "TRANSFORMERS_OFFLINE" }],
  [{ HF_HUB_OFFLINE: "0" }, { offline: null }],
  [{ HF_TOKEN: " hf_a\r\n" }, { token: "hf_a", tokenFrom: "HF_TOKEN" }],
  [{ HUGGING_FACE_HUB_TOKEN: "hf_old" }, { token: "hf_old", tokenFrom: "HUGGING_FACE_HUB_TOKEN" }],
  [{ HF_TOKEN: "hf_a", HF_HUB_DISABLE_IMPLICIT_TOKEN: "1" }, { token: null }],
  [{ HF_HUB_DISABLE_XET: "ON" }, { usesXet: false }],
  [{ HF_HUB_DOWNLOAD_TIMEOUT: "30" }, { timeoutMs: 30_000 }],
  [{ HTTPS_PROXY: "http://p:1" }, { proxies: { http: null, https: "http://p:1", no: "" } }],
  [
    { https_proxy: "http://low:1", HTTPS_PROXY: "http://up:1" },
    { proxies: { http: null, https: "http://low:1", no: "" } },
  ],
  [
    { ALL_PROXY: "p:3128", HTTP_PROXY: "http://h:1", no_proxy: "a,b" },
    { proxies: { http: "http://h:1", https: "http://p:3128", no: "a,b" } },
  ],
])("%j", (env, expected) => {
  expect(hubSettings({ ...NOBODY, ...env })).toMatchObject(expected);
});

test("the token of a login is in a file", () => {
  const home = scratch();
  mkdirSync(join(home, "hf"));
  writeFileSync(join(home, "hf/token"), "hf_from_file\n");
  const file = join(home, "hf/token");
  expect(hubSettings({ HF_HOME: join(home, "hf") })).toMatchObject({ token: "hf_from_file", tokenFrom: file });
  expect(hubSettings({ ...NOBODY, HF_TOKEN_PATH: file })).toMatchObject({ token: "hf_from_file", tokenFrom: file });
  expect(hubSettings({ ...NOBODY, HF_TOKEN_PATH: join(home, "none") })).toMatchObject({ token: null });
});

test.each([
  [{ HF_ENDPOINT: "hub.acme.test" }, "HF_ENDPOINT"],
  [{ HF_ENDPOINT: "ftp://hub.acme.test" }, "HF_ENDPOINT"],
  [{ HF_ENDPOINT: "https://" }, "HF_ENDPOINT"],
  [{ HF_TOKEN: "“hf_a”" }, "HF_TOKEN"],
  [{ HUGGING_FACE_HUB_TOKEN: "hf_a hf_b" }, "HUGGING_FACE_HUB_TOKEN"],
  [{ HF_HUB_DOWNLOAD_TIMEOUT: "-1" }, "HF_HUB_DOWNLOAD_TIMEOUT"],
  [{ HF_HUB_DOWNLOAD_TIMEOUT: "soon" }, "HF_HUB_DOWNLOAD_TIMEOUT"],
])("%j is refused, by its name", (env, name) => {
  expect(() => hubSettings({ ...NOBODY, ...env })).toThrow(
    expect.objectContaining({ code: "HUB_SETTING", message: expect.stringContaining(`${name}: not `) }),
  );
  expect(() => hubSettings({ ...NOBODY, ...env })).not.toThrow(/hf_a/);
});
