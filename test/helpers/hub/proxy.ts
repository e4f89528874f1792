// A proxy on this machine: it is asked for `http:` addresses by their whole name, and to connect for others.
import { request as ask, createServer, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";

export class HttpProxy {
  /** What it was asked for: the whole address, or `host:port`. */
  seen: string[] = [];
  private readonly server: Server = createServer((request, response) => {
    this.seen.push(request.url ?? "");
    const { method, headers } = request;
    const onward = ask(request.url ?? "", { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", () => response.writeHead(502).end());
    request.pipe(onward);
  });

  async start(): Promise<string> {
    this.server.on("connect", (request, socket) => {
      this.seen.push(request.url ?? "");
      const [host = "", port = ""] = (request.url ?? "").split(":");
      const onward = connect(Number(port), host, () => {
        socket.write("HTTP/1.1 200 Connection Established\r\n\r\n");
        onward.pipe(socket).pipe(onward);
      });
      onward.on("error", () => socket.destroy());
      socket.on("error", () => onward.destroy());
    });
    await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
