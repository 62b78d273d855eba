package gre

// transmitter turns inner packets in its buffers into outer ones. The inner
// packet starts at headLen, the headers are put in front of it.
type transmitter struct {
	u     *userTunnel
	v6    bool
	out   *batch
	bufs  [batchSize][]byte
	sizes [batchSize]int
}

func (u *userTunnel) newTransmitter() *transmitter {
	x := &transmitter{u: u, v6: u.t.Remote.Is6(), out: sender(u.outer.rc, u.tooBig)}
	for i := range x.bufs {
		x.bufs[i] = make([]byte, bufLen)
		if !x.v6 {
			putOuter4(x.bufs[i], u.t.Local.As4(), u.t.Remote.As4(), ttlOf(u.t))
		}
	}
	return x
}

// encapsulate prepares the first n packets for sending and returns how many are.
func (x *transmitter) encapsulate(n int) int {
	k := 0
	for i := range n {
		b := x.bufs[i]
		inner := b[headLen : headLen+x.sizes[i]]
		et, ok := etherTypeOf(inner)
		if !ok {
			x.u.txLost.Add(1)
			continue
		}
		putGRE(b[outerLen:], et)
		if x.v6 {
			x.out.set(k, b[outerLen:headLen+len(inner)])
		} else {
			setOuter4(b, headLen+len(inner), trafficClass(inner))
			x.out.set(k, b[:headLen+len(inner)])
		}
		k++
	}
	return k
}

// receiverState takes inner packets out of received ones, in place.
type receiverState struct {
	u     *userTunnel
	v6    bool
	in    *batch
	bufs  [batchSize][]byte
	inner [batchSize][]byte
	start int // where the socket writes: the inner packet of a usual packet is at headLen
}

func (u *userTunnel) newReceiver() *receiverState {
	r := &receiverState{u: u, v6: u.t.Remote.Is6(), in: receiver(u.outer.rc, u.tooBig)}
	if r.v6 {
		r.start = outerLen
	}
	for i := range r.bufs {
		r.bufs[i] = make([]byte, bufLen)
		r.in.set(i, r.bufs[i][r.start:])
	}
	return r
}

// decapsulate returns the sound ones of the first n received packets. Each
// slice has headLen bytes of room in front, and capacity behind.
func (r *receiverState) decapsulate(n int) [][]byte {
	out := r.inner[:0]
	for i := range n {
		b, why := r.one(i)
		if why != accepted {
			r.u.refused[why].Add(1)
			r.u.once("received packets are refused: "+why.String(), "remote", r.u.t.Remote)
			continue
		}
		out = append(out, b)
	}
	return out
}

func (r *receiverState) one(i int) ([]byte, refusal) {
	size, whole := r.in.size(i)
	if !whole {
		return nil, refuseShort
	}
	b := r.bufs[i][:r.start+size]
	at, class := r.start, byte(0)
	if !r.v6 {
		ihl, c, ok := outer4(b)
		if !ok {
			return nil, refuseShort
		}
		at, class = ihl, c
	}
	inner, why := parseGRE(b[at:])
	if why != accepted {
		return nil, why
	}
	if !markECN(inner, class) {
		return nil, refuseECN
	}
	return b[len(b)-len(inner)-headLen:], accepted
}
