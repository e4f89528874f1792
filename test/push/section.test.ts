// Our section of a card: nothing else in it changes.
import { describe, expect, it } from "vitest";
import { chosenReadme, readmeWith } from "../../src/push/card/readme.ts";
import { hasSection, newCard, withoutSection, withSection } from "../../src/push/card/section.ts";
import { code, inline, placeName, withoutPaths } from "../../src/push/card/text.ts";

const OWN = "---\nlicense: mit\n---\n\n# Mine\n\n## Use\n\nWords.\n";
const fresh = { title: "m", baseModel: null, isTransformers: false };

describe("a section", () => {
  it("comes to the end, and later stands where it stood", () => {
    const first = withSection(OWN, "one", "card");
    expect(first.startsWith(OWN)).toBe(true);
    const moved = `${first}\n## After\n`;
    const second = withSection(moved, "two", "card");
    expect(second).toBe(moved.replace("\n\none\n\n", "\n\ntwo\n\n"));
    expect(withSection(second, "two", "card")).toBe(second);
    expect(withoutSection(first, "card")).toBe(OWN.trimEnd());
    expect([hasSection(OWN, "card"), hasSection(first, "card")]).toEqual([false, true]);
  });

  it("has the line ends of its card", () => {
    const card = withSection(OWN.replaceAll("\n", "\r\n"), "one\ntwo", "card");
    expect(card.replaceAll("\r\n", "")).not.toContain("\n");
    expect(withSection(card, "one\ntwo", "card")).toBe(card);
    expect(withoutSection(card, "card")).toBe(OWN.trimEnd());
  });

  it.each([
    ["an end alone", (card: string) => card.replace(/<!-- convert-checkpoint: begin.*/, "")],
    ["two of them", (card: string) => card + card],
    ["the other way round", (card: string) => card.split("\n").reverse().join("\n")],
  ])("is refused where its markers are no pair: %s", (_name, broken) => {
    expect(() => withSection(broken(withSection(OWN, "one", "card")), "two", "card")).toThrow(
      expect.objectContaining({ code: "CARD_MARKERS" }),
    );
  });

  it("begins a card where there is none, which names no licence", () => {
    expect(newCard({ title: "m", baseModel: "a/b", isTransformers: true })).toBe(
      "---\nlibrary_name: transformers\nbase_model: a/b\n---\n\n# m\n",
    );
    expect(newCard(fresh)).toBe("# m\n");
  });
});

describe("the card of a repository", () => {
  const written = withSection(OWN, "before", "card");
  it.each([
    ["the repository's stays where the folder's came along", { local: "# Source's\n", remote: OWN }, "section", OWN],
    ["the folder's goes there where it was written for this", { local: written, remote: "# There\n" }, "replaced", OWN],
    ["only our section differs", { local: OWN, remote: written }, "section", OWN],
    ["the folder's, where there is none", { local: OWN, remote: null }, "added", OWN],
    ["a new one, where there is none", { local: null, remote: null }, "added", "# m\n"],
  ])("%s", (_name, readmes, change, owners) => {
    const chosen = chosenReadme(readmes);
    const card = readmeWith(chosen, "now", fresh);
    expect(chosen.change).toBe(change);
    expect(card).toContain("\n\nnow\n\n");
    expect(card).not.toContain("before");
    expect(withoutSection(card, "card")).toBe(owners.trimEnd());
  });
});

describe("words of files and reports", () => {
  it("are no markup", () => {
    expect(inline("a|b <script> [x](y) `c`\n# d")).toBe("a\\|b \\<script\\> \\[x\\](y) \\`c\\` \\# d");
    expect(code("a`b")).toBe("``a`b``");
  });

  it("tell no folders of the machine", () => {
    expect(
      withoutPaths("/home/me/secret/config.json was used; 1e-8 nats/token, fixtures/a/b.json, https://x.org/a/b"),
    ).toBe("config.json was used; 1e-8 nats/token, b.json, https://x.org/a/b");
    expect([placeName("/a/b/"), placeName("hf://a/b/c"), placeName("~/x/y"), placeName("x")]).toEqual([
      "b",
      "hf://a/b/c",
      "y",
      "x",
    ]);
  });
});
