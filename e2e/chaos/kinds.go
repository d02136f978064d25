package chaos

import "time"

// kinds are all kinds of faults. The API server is away for the given time at least, where it is away for long.
func kinds(away time.Duration) []kind {
	const s = time.Second
	return []kind{
		{name: "speaker killed", share: 150, where: aNode, ends: endsOne, befall: speakerKilled},
		{name: "speaker shut down", share: 60, where: aNode, ends: endsOne, befall: speakerShutDown},
		{name: "speaker frozen", share: 110, where: aNode, least: s / 5, most: 3 * s, befall: speakerFrozen},
		{name: "BFD process killed", share: 30, where: aNode, befall: bfdKilled},
		{name: "node frozen", share: 60, where: aNode, least: s / 2, most: 3 * s, befall: nodeFrozen},
		{name: "cable out", share: 100, where: aNode, least: s / 2, most: 4 * s, befall: cableOut},
		{name: "link flapping", share: 100, where: aNode, least: s, most: 3 * s, befall: linkFlapping},
		{name: "node excluded", share: 50, where: aNode, least: s, most: 3 * s, befall: nodeExcluded},
		{name: "node drained", share: 15, where: aNode, alone: true, befall: nodeDrained},
		{name: "node's power cut", share: 15, where: aNode, alone: true, ends: endsOne, least: s, most: 3 * s, befall: powerCut},

		{name: "gossip parted", share: 70, where: theGossip, least: s / 2, most: 4 * s, befall: gossipParted},

		{name: "connections to the API server cut", share: 60, where: theAPI, befall: connectionsCut},
		{name: "API server slow and lossy", share: 40, where: theAPI, least: 2 * s, most: 5 * s, befall: apiSlow},
		{name: "API server out of reach", share: 30, where: theAPI, least: s, most: 6 * s, befall: apiOutOfReach},
		{name: "API server killed", share: 12, where: theAPI, alone: true, befall: apiAway},
		{name: "etcd killed", share: 12, where: theAPI, alone: true, befall: etcdKilled},
		{name: "API server away", share: 2, where: theAPI, alone: true, least: away, most: away, befall: apiAway},
		{name: "API server away, a node cut off", share: 2, where: aNode, alone: true, least: away, most: away, befall: apiAwayNodeCutOff},
		{name: "API server away, a speaker killed", share: 2, where: aNode, alone: true, ends: endsOne, least: away, most: away, befall: apiAwaySpeakerKilled},

		{name: "leading controller killed", share: 30, where: theControllers, ends: endsOne, befall: leaderKilled},
		{name: "standby controller killed", share: 15, where: theControllers, ends: endsOne, befall: standbyKilled},
		{name: "leading controller frozen", share: 20, where: theControllers, least: s, most: 6 * s, befall: leaderFrozen},
		{name: "controller shut down", share: 12, where: theControllers, ends: endsOne, befall: controllerShutDown},
		{name: "rolling restart", share: 4, where: theControllers, alone: true, ends: endsAll, befall: rollingRestart},

		{name: "invalid object forced in", share: 40, where: theObjects, least: s, most: 3 * s, befall: invalidObject},
		{name: "router's sessions reset", share: 30, where: theRouter, befall: sessionsReset},
		{name: "router restarted", share: 8, where: theRouter, alone: true, befall: routerRestarted},
	}
}
