package main

// tgwCommands are the words under "tgw": the AWS side, asked and changed from here
// with the operator's own credentials. Each family has a file of its own,
// tgw_*.go; add its words here.
func tgwCommands() []command {
	return append(applyCommands(), []command{
		tgwCheckCommand(), selftestCommand(), routesCommand(), frontCommand(),
		{use: "peers", short: "Connect peers as the daemon has discovered them, and why one is not used", do: doTGWPeers},
	}...)
}
