// `hf://…` wherever a path is given: a module that imports this one can read from the Hub.
import { serveAddresses } from "../formats/io/disk-folder.ts";
import { HUB_SCHEME } from "./address.ts";
import { locateOnHub } from "./hub-folder.ts";

serveAddresses(HUB_SCHEME, locateOnHub);
